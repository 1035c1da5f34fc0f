"""Which process of a job this is, before any of them knows the others."""

from __future__ import annotations

import os

#: Set by torchrun, Lightning, SLURM, MPI and the like for every process of a job, and for each of its machines.
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
    """Whether this process is rank 0 of its job, or alone: it makes the run folder, and holds it for the others."""
    return all(os.environ.get(name, "0").strip() in ("", "0") for name in RANKS)
