"""Data loaders for evaluation and for training; the latter can resume within an epoch."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from clusterseg.data.batch import Batch
from clusterseg.data.budget import BudgetSampler
from clusterseg.data.dataset import ScanDataset
from clusterseg.data.sampler import EvalSampler, TrainSampler
from clusterseg.data.transport import collate_and_send, receive
from clusterseg.data.watch import watched
from clusterseg.errors import UserError

SECONDS_LEFT = 300  # seconds until a worker ends after the first SIGTERM


class ScanLoader(DataLoader[Any]):
    """A DataLoader that receives batches by shared memory or pipe, and never waits forever for a worker."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # DataLoader names a class of its own
        return map(receive, watched(super().__iter__()))


class TrainLoader(ScanLoader):
    """A DataLoader with the state (epoch, scans used by all ranks), which Lightning stores in a checkpoint.

    A run resumed within an epoch continues the epoch's order after the scans already used, so that each scan is used
    once. This also holds for another number of ranks or another batch size.

    Args:
        dataset: The dataset.
        sampler: The sampler, which defines the order.
        **kwargs: As for `torch.utils.data.DataLoader`.
    """

    def __init__(self, dataset: ScanDataset, sampler: TrainSampler, **kwargs: Any) -> None:
        super().__init__(dataset, sampler=sampler, **kwargs)
        self._train_sampler = sampler
        self._epoch, self._handed_out = sampler.epoch, sampler.start

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # as above
        return self._count(super().__iter__())

    def _count(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        self._epoch, self._handed_out = self._train_sampler.epoch, self._train_sampler.start
        for batch in batches:
            self._handed_out += batch.num_scans * self._train_sampler.world_size
            yield batch

    @property
    def scans_before(self) -> int:
        """Scans of the current epoch that all ranks used before the resume; 0 for a whole epoch."""
        return self._train_sampler.start

    @property
    def batches_left(self) -> int:
        """Batches of the current epoch from its start or resume."""
        assert self.batch_size is not None
        return math.ceil(self._train_sampler.left / self.batch_size)

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of its scans loaded by all ranks together."""
        return {"epoch": self._epoch, "scans": self._handed_out}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the scans already loaded, or with the next epoch after the last scan."""
        sampler, epoch = self._train_sampler, state_dict["epoch"]
        if "batches" in state_dict:  # of a run with a budget of voxels
            whole = state_dict["batches"] >= state_dict["steps"]
            if state_dict["batches"] and not whole:
                _require_same_division(state_dict, {})
            state_dict = {"epoch": epoch, "scans": sampler.num_samples if whole else 0}
        scans = state_dict["scans"] if "scans" in state_dict else state_dict["samples"] * sampler.world_size
        if scans >= sampler.num_samples:
            epoch, scans = epoch + 1, 0
        sampler.resume(epoch, scans)
        self._epoch, self._handed_out = epoch, scans


class BudgetLoader(ScanLoader):
    """A DataLoader of batches within a budget of voxels, with its position in the epoch as state.

    Args:
        dataset: The dataset.
        sampler: The sampler, which divides each epoch into batches.
        **kwargs: As for `torch.utils.data.DataLoader`.
    """

    def __init__(self, dataset: ScanDataset, sampler: BudgetSampler, **kwargs: Any) -> None:
        super().__init__(dataset, batch_sampler=sampler, **kwargs)
        self._budget_sampler = sampler
        self._epoch, self._handed_out = sampler.epoch, sampler.start

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # as above
        return self._count(super().__iter__())

    def _count(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        self._epoch, self._handed_out = self._budget_sampler.epoch, self._budget_sampler.start
        for batch in batches:
            self._handed_out += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, the number of its batches loaded by each rank, and what divides an epoch."""
        return {"epoch": self._epoch, "batches": self._handed_out, **self._budget_sampler.division}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue after the batches already loaded, or with the next epoch after the last batch.

        Raises:
            UserError: The checkpoint lies within an epoch that was divided into other batches.
        """
        sampler, epoch, batches = self._budget_sampler, state_dict["epoch"], state_dict.get("batches", 0)
        if batches >= state_dict.get("steps", math.inf) or state_dict.get("scans", 0) >= len(sampler.sizes):
            epoch, batches = epoch + 1, 0
        elif batches or state_dict.get("scans"):
            _require_same_division(state_dict, sampler.division)
        sampler.resume(epoch, batches)
        self._epoch, self._handed_out = epoch, batches


def _require_same_division(state: Mapping[str, int], division: Mapping[str, int]) -> None:
    """Refuse to go on within an epoch that was divided into other batches.

    Raises:
        UserError: The budget, the number of ranks or the number of scans is another one.
    """
    theirs = {name: state[name] for name in ("budget", "ranks", "of", "steps") if name in state}
    if theirs != division:
        raise UserError(
            "data.batch_voxels: the checkpoint lies within an epoch that was divided by "
            f"{theirs or 'batch_size'}, here it would be by {dict(division) or 'batch_size'}; resume with the same "
            "number of ranks and budget, or start a new run from its weights: model.init_from=CHECKPOINT"
        )


def train_loader(dataset: ScanDataset, sampler: TrainSampler | BudgetSampler, **options: Any) -> DataLoader[Any]:
    """Return the loader of a training run; see `eval_loader` for the options, of which a budget needs no batch_size."""
    if isinstance(sampler, BudgetSampler):
        given = _common(**options)
        del given["batch_size"]
        return BudgetLoader(dataset, sampler, **given)
    return TrainLoader(dataset, sampler, **_common(**options))


def eval_loader(dataset: ScanDataset, sampler: EvalSampler, **options: Any) -> DataLoader[Any]:
    """Return a loader for evaluation.

    Args:
        dataset: The dataset.
        sampler: The sampler, which defines the order.
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
        "worker_init_fn": start_worker,
        # A separate generator: a loader must not advance the global random state, which a resume restores.
        "generator": torch.Generator(),
    }


def start_worker(worker: int) -> None:
    """Set up a worker: one thread, and ignore the first SIGTERM.

    After SIGTERM the run saves and ends at its next optimiser step, and needs batches until then. A run that ends its
    workers itself sends a second SIGTERM.
    """
    torch.set_num_threads(1)
    if multiprocessing.parent_process() is not None and hasattr(signal, "SIGUSR1"):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, _end_at_the_next)


def _end_at_the_next(number: int, frame: Any) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.alarm(SECONDS_LEFT)  # in case the second SIGTERM does not arrive
