"""Samplers that yield the keys of samples, for one rank of a distributed run."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from clusterseg.data.augment.partners import partners


class TrainSampler(Sampler[tuple[int, int, int]]):
    """A new order for every (seed, epoch), dealt out to the ranks in equal numbers, as keys (epoch, index, second).

    Where the ranks do not divide the samples, the order starts again from its beginning to fill up. The second scan,
    to mix the first with, belongs to the scan and not to its place in the order, see `partners`.

    Args:
        num_samples: Samples in the dataset.
        seed: Seed of the order and of the second scans.
        rank: This process, 0..world_size-1.
        world_size: Number of processes.
        epoch: The epoch to begin with.
        start: Samples of all ranks to skip in that epoch, for a resume in the middle of it.
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
    ) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.resume(epoch, start)

    def resume(self, epoch: int, start: int) -> None:
        """Go on at an epoch, `start` samples of all ranks into it; other epochs are whole."""
        self.epoch = self._resumed_epoch = epoch
        self._start = start

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; Lightning calls this."""
        self.epoch = epoch

    @property
    def start(self) -> int:
        """Samples of all ranks that the current epoch leaves out at its beginning."""
        return self._start if self.epoch == self._resumed_epoch else 0

    @property
    def left(self) -> int:
        """Samples of this rank in the current epoch after `start`."""
        return math.ceil(max(self.num_samples - self.start, 0) / self.world_size)

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch, also where a resume skips some: the trainer counts on it."""
        return math.ceil(self.num_samples / self.world_size)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.num_samples)
        padded = np.resize(order, self.start + self.left * self.world_size)
        mine = padded[self.start + self.rank :: self.world_size]
        epoch, second = self.epoch, partners(self.seed, self.epoch, self.num_samples)
        return ((epoch, index, int(second[index])) for index in mine.tolist())


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
