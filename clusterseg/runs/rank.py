"""The rank of this process, read from the environment before the process group exists."""

from __future__ import annotations

import os

#: Variables that torchrun, Lightning, SLURM, MPI and others set for each process and each machine of a job.
RANKS = (
    "RANK",
    "LOCAL_RANK",
    "SLURM_PROCID",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "JSM_NAMESPACE_RANK",
    "NODE_RANK",
    "GROUP_RANK",
)


def is_first_rank() -> bool:
    """Whether this process is rank 0 of its job or the only one: it creates and locks the run folder."""
    return all(os.environ.get(name, "0").strip() in ("", "0") for name in RANKS)
