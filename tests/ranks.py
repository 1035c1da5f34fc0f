"""Ranks of a process group as processes of their own, without the seconds of their imports."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch.multiprocessing as mp

#: What every rank needs: a server imports it once, and each rank is a fork of that server.
PRELOADED = ["torch", "pytorch_lightning", "tiny_run"]


def start_ranks(function: Callable[[int, str], None], folder: Path, count: int) -> None:
    """Call function(rank, folder) in so many processes at once, and wait for them; the first error is raised here."""
    multiprocessing.set_forkserver_preload(PRELOADED)
    mp.start_processes(function, (str(folder),), nprocs=count, start_method="forkserver")
