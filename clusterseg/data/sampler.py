"""Samplers of one rank of a distributed run; they yield the keys of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Int64
from torch.utils.data import Sampler

from clusterseg.data.augment.partners import partners
from clusterseg.data.proportions import Proportions


class TrainSampler(Sampler[tuple[int, int, int]]):
    """A new order for every (seed, epoch), split evenly over the ranks, as keys (epoch, index, second).

    Each step takes the next samples of the order, and each rank its part of them: the batches of the ranks, one after
    another, are the batch that one process would take. If the samples do not divide evenly, the order is padded from
    its beginning. The second scan to mix with depends on the first scan and not on its position in the order, see
    `partners`.

    Args:
        num_samples: Samples in the dataset.
        seed: Seed of the order and of the second scans.
        rank: This process, 0..world_size-1.
        world_size: Number of processes.
        epoch: The first epoch.
        start: Samples of all ranks to skip in that epoch, for a resume within it.
        batch_size: Samples that a rank takes in a step.
        proportions: What an epoch draws, where it is not every sample once; an index may then exceed `num_samples`.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        epoch: int = 0,
        start: int = 0,
        batch_size: int = 1,
        proportions: Proportions | None = None,
    ) -> None:
        self.num_scans = num_samples
        self.num_samples = num_samples if proportions is None else len(proportions)
        self.proportions = proportions
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.batch_size = batch_size
        self.resume(epoch, start)

    def resume(self, epoch: int, start: int) -> None:
        """Resume an epoch after `start` samples of all ranks; other epochs are whole."""
        self.epoch = self._resumed_epoch = epoch
        self._start = start

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; Lightning calls this."""
        self.epoch = epoch

    @property
    def start(self) -> int:
        """Samples of all ranks skipped at the start of the current epoch."""
        return self._start if self.epoch == self._resumed_epoch else 0

    @property
    def left(self) -> int:
        """Samples of this rank in the current epoch after `start`."""
        return math.ceil(max(self.num_samples - self.start, 0) / self.world_size)

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch, also if a resume skips some: the Trainer relies on it."""
        return math.ceil(self.num_samples / self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        order = self._order()
        padded = np.resize(order, self.start + self.left * self.world_size)
        mine = self._mine(padded[self.start :])
        epoch, scans, second = self.epoch, self.num_scans, partners(self.seed, self.epoch, self.num_scans)
        return ((epoch, index, int(second[index % scans])) for index in mine.tolist())

    def _mine(self, order: Int64[np.ndarray, " samples"]) -> Int64[np.ndarray, " own"]:
        """Return this rank's part of each step; the last step may be smaller, for all ranks alike."""
        whole = len(order) // (self.world_size * self.batch_size) * self.world_size * self.batch_size
        steps = order[:whole].reshape(-1, self.world_size, self.batch_size)
        return np.concatenate([steps[:, self.rank].ravel(), order[whole:].reshape(self.world_size, -1)[self.rank]])

    def _order(self) -> Int64[np.ndarray, " samples"]:
        if self.proportions is not None:
            return self.proportions.order(self.seed, self.epoch)
        return np.random.default_rng([self.seed, self.epoch]).permutation(self.num_samples)


class EvalSampler(Sampler[tuple[int, int]]):
    """Every sample once, in order, over all ranks together, as keys (0, index).

    Ranks may differ by one sample, or have none.

    Args:
        num_samples: Samples in the dataset.
        rank: This process, 0..world_size-1.
        world_size: Number of processes.
    """

    def __init__(self, num_samples: int, *, rank: int = 0, world_size: int = 1) -> None:
        self._indices = range(rank, num_samples, world_size)

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((0, index) for index in self._indices)
