"""Ranks of a process group as processes of their own, without the seconds of their imports."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import torch.multiprocessing as mp

from clusterseg.commands.lean_start import leave_out_scipy_signal

#: What every rank needs: a server imports it once, in this order, and each rank is a fork of that server.
PRELOADED = ["ranks", "pytorch_lightning", "tiny_run"]

leave_out_scipy_signal()


def start_ranks(function: Callable[..., None], count: int, *arguments: object) -> None:
    """Call function(rank, *arguments) in so many processes at once and wait for them; raises the first error."""
    multiprocessing.set_forkserver_preload(PRELOADED)
    mp.start_processes(function, arguments, nprocs=count, start_method="forkserver")
