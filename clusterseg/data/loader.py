"""Data loaders: one for evaluation, and one for training that can go on in the middle of an epoch."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from clusterseg.data.batch import Batch
from clusterseg.data.dataset import ScanDataset
from clusterseg.data.sampler import EvalSampler, TrainSampler
from clusterseg.data.transport import collate_and_send, receive
from clusterseg.data.watch import watched

SECONDS_LEFT = 300  # for a worker after the first SIGTERM


class ScanLoader(DataLoader):
    """A DataLoader that hands out batches, whichever way they came from its workers, and waits for none for ever."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        return map(receive, watched(super().__iter__()))


class TrainLoader(ScanLoader):
    """A DataLoader whose state is (epoch, scans that all ranks have had), which Lightning stores in a checkpoint.

    A run that is resumed in the middle of an epoch goes on in its order of scans after those, each of which it has had
    once; on another number of ranks, or in batches of another size, as well.

    Args:
        dataset: What to load.
        sampler: The order.
        **kwargs: As `torch.utils.data.DataLoader`.
    """

    def __init__(self, dataset: ScanDataset, sampler: TrainSampler, **kwargs: Any) -> None:
        super().__init__(dataset, sampler=sampler, **kwargs)
        self._train_sampler = sampler
        self._epoch, self._handed_out = sampler.epoch, sampler.start

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        return self._count(super().__iter__())

    def _count(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        self._epoch, self._handed_out = self._train_sampler.epoch, self._train_sampler.start
        for batch in batches:
            self._handed_out += batch.num_scans * self._train_sampler.world_size
            yield batch

    @property
    def scans_before(self) -> int:
        """Scans of the current epoch that all ranks had had before it was resumed; 0 where it is whole."""
        return self._train_sampler.start

    @property
    def batches_left(self) -> int:
        """Batches of the current epoch from where it is begun or resumed."""
        assert self.batch_size is not None
        return math.ceil(self._train_sampler.left / self.batch_size)

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and how many scans of it all ranks together have been handed out."""
        return {"epoch": self._epoch, "scans": self._handed_out}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after the scans already handed out; after the last one, with the next epoch."""
        sampler, epoch = self._train_sampler, state_dict["epoch"]
        scans = state_dict["scans"] if "scans" in state_dict else state_dict["samples"] * sampler.world_size
        if scans >= sampler.num_samples:
            epoch, scans = epoch + 1, 0
        sampler.resume(epoch, scans)
        self._epoch, self._handed_out = epoch, scans


def train_loader(dataset: ScanDataset, sampler: TrainSampler, **options: Any) -> TrainLoader:
    """Return the loader of a training run; see `eval_loader` for the options."""
    return TrainLoader(dataset, sampler, **_common(**options))


def eval_loader(dataset: ScanDataset, sampler: EvalSampler, **options: Any) -> DataLoader:
    """Return a loader for evaluation.

    Args:
        dataset: What to load.
        sampler: The order.
        **options: batch_size, num_workers, pin_memory, persistent_workers.
    """
    return ScanLoader(dataset, sampler=sampler, **_common(**options))


def _common(batch_size: int, num_workers: int, pin_memory: bool, persistent_workers: bool) -> dict[str, Any]:
    return {
        "batch_size": batch_size,
        "num_workers": num_workers,
        "collate_fn": collate_and_send,
        "pin_memory": pin_memory and torch.cuda.is_available(),
        "persistent_workers": persistent_workers and num_workers > 0,
        "worker_init_fn": _start_worker,
        # Its own generator: a loader must not advance the global random state, which a resume restores.
        "generator": torch.Generator(),
    }


def _start_worker(worker: int) -> None:
    """Use one thread, and live on where the system asks all processes of a job to end.

    The run then saves and ends at its next optimiser step, and up to there it needs its batches. So the first SIGTERM
    ends no worker; a run that ends its workers itself sends a second one.
    """
    torch.set_num_threads(1)
    if multiprocessing.parent_process() is not None and hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _end_at_the_next)


def _end_at_the_next(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.alarm(SECONDS_LEFT)  # should the next one not get through
