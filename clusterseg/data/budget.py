"""Batches of as many scans as fit into a budget of voxels, equally many on each rank.

What a scan has after augmentation is known only when it is loaded, so two numbers share the work. Batches are packed
by the number of voxels on disk, which is stored (`voxel_counts`), so that an epoch is a function of (seed, epoch,
ranks) alone, known before anything is loaded. The room that is left in a batch is then divided among its scans as a cap
on each: no batch exceeds the budget whatever augmentation adds, and where nothing is added nothing is cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int64
from torch.utils.data import Sampler

from clusterseg.data.augment.partners import partners

#: Batches that are filled at the same time.
OPEN = 8
#: Orders that are drawn to find how many batches an epoch needs, and that an epoch may draw to need no more.
TRIES = 16


def pack(sizes: Int64[np.ndarray, " scans"], order: Sequence[int], budget: int) -> list[list[int]]:
    """Fill batches in the given order: a scan goes into the fullest open batch that has room for it.

    Args:
        sizes: Voxels of each scan, each at most the budget.
        order: Indices of the scans.
        budget: Most voxels of a batch.
    """
    done: list[list[int]] = []
    filling: list[tuple[int, list[int]]] = []
    for index in order:
        size = int(sizes[index])
        room = [place for place, (load, _) in enumerate(filling) if load + size <= budget]
        if room:
            place = max(room, key=lambda place: filling[place][0])
            load, batch = filling[place]
            filling[place] = (load + size, [*batch, index])
            continue
        if len(filling) == OPEN:
            fullest = max(range(OPEN), key=lambda place: filling[place][0])
            done.append(filling.pop(fullest)[1])
        filling.append((size, [index]))
    return done + [batch for _, batch in filling]


class BudgetSampler(Sampler[list[tuple[int, int, int, int]]]):
    """Batches of keys (epoch, index, second, cap) of one rank; in each epoch every scan once.

    All epochs have the same number of batches, a multiple of the ranks: the most that some random orders need. An epoch
    draws orders until one needs no more, and parts its largest batches until it has as many.

    Args:
        sizes: Voxels of each scan, estimated.
        budget: Most voxels of a batch.
        seed: Seed of the orders and of the second scans.
        rank: This process, 0..world_size-1.
        world_size: Number of processes.
        epoch: The first epoch.
        start: Batches of this rank to skip in that epoch, for a resume within it.
    """

    def __init__(
        self,
        sizes: Int64[np.ndarray, " scans"],
        budget: int,
        *,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        epoch: int = 0,
        start: int = 0,
    ) -> None:
        self.sizes = np.minimum(sizes, budget)
        self.budget, self.seed, self.rank, self.world_size = budget, seed, rank, world_size
        self._spare = max((self._packed(0, attempt) for attempt in range(TRIES)), key=len)
        self.steps = -(-len(self._spare) // world_size)
        self.resume(epoch, start)

    @property
    def sampler(self) -> BudgetSampler:
        """Itself: Lightning sets the epoch of what it finds under this name."""
        return self

    def resume(self, epoch: int, start: int) -> None:
        """Resume an epoch after `start` batches of each rank; other epochs are whole."""
        self.epoch = self._resumed_epoch = epoch
        self._start = start

    @property
    def division(self) -> dict[str, int]:
        """What an epoch is divided by, for a checkpoint: resumed within an epoch, it must be the same."""
        return {"budget": self.budget, "ranks": self.world_size, "of": len(self.sizes), "steps": self.steps}

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; Lightning calls this."""
        self.epoch = epoch

    @property
    def start(self) -> int:
        """Batches of each rank skipped at the start of the current epoch."""
        return self._start if self.epoch == self._resumed_epoch else 0

    def __len__(self) -> int:
        """Batches of this rank in a whole epoch, also if a resume skips some: the Trainer relies on it."""
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int, int, int]]]:
        epoch, second = self.epoch, partners(self.seed, self.epoch, len(self.sizes))
        mine = self.batches(epoch)[self.rank :: self.world_size][self.start :]
        for batch in mine:
            sizes = self.sizes[batch]
            caps = sizes * self.budget // sizes.sum()
            yield [(epoch, index, int(second[index]), int(cap)) for index, cap in zip(batch, caps, strict=True)]

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the batches of an epoch over all ranks, `steps * world_size` of them, in order."""
        wanted = self.steps * self.world_size
        tries = (self._packed(epoch, attempt) for attempt in range(TRIES))
        found = next((batches for batches in tries if len(batches) <= wanted), self._spare)
        batches = sorted(found, key=len)
        while len(batches) < wanted and len(batches[-1]) > 1:
            largest = batches.pop()
            halves = [largest[::2], largest[1::2]]
            batches = sorted([*batches, *halves], key=len)
        shuffled = self._random(epoch, TRIES).permutation(len(batches))
        return [batches[place] for place in np.resize(shuffled, wanted)]  # fewer scans than ranks: some twice

    def _packed(self, epoch: int, attempt: int) -> list[list[int]]:
        order = self._random(epoch, attempt).permutation(len(self.sizes))
        return pack(self.sizes, order.tolist(), self.budget)

    def _random(self, epoch: int, draw: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence([self.seed, epoch, draw], spawn_key=(2,)))
