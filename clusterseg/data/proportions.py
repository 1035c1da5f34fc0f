"""The order of an epoch that draws from several data sets in given proportions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from clusterseg.errors import UserError


class Proportions:
    """Which scans an epoch draws, a function of (seed, epoch) alone.

    Every part is drawn from as often as its share says, in every epoch alike. Within a part the scans take turns: none
    is drawn again before all were, across epochs too. So a small part is seen several times an epoch, and of a large
    one each epoch sees another piece.

    A draw is named by the index of its scan plus a multiple of the number of scans, which counts the draws of that scan
    within the epoch: two draws of one scan are two samples with an augmentation of their own.

    Args:
        sizes: Scans of each part; those of a part follow one another in the data set.
        shares: The share of each part, in any unit.
        draws: Draws of an epoch; None for as many as there are scans.

    Raises:
        UserError: A share is above 0 and its part has no scan; or no part has any share.
    """

    def __init__(self, sizes: Sequence[int], shares: Sequence[float], draws: int | None = None) -> None:
        self.sizes = tuple(sizes)
        self.counts = _rounded(sum(sizes) if draws is None else draws, shares)
        for size, count in zip(self.sizes, self.counts, strict=True):
            if count and not size:
                raise UserError("data.parts: a part has a share and no training scan; set its share to 0")

    def __len__(self) -> int:
        """Draws of an epoch."""
        return sum(self.counts)

    def order(self, seed: int, epoch: int) -> Int64[np.ndarray, " draws"]:
        """Return the draws of an epoch, shuffled."""
        starts = np.cumsum([0, *self.sizes])
        drawn = [start + self._of_part(seed, epoch, part) for part, start in enumerate(starts[:-1])]
        shuffled = np.random.default_rng([seed, epoch]).permutation(np.concatenate(drawn))
        return shuffled + sum(self.sizes) * occurrences(shuffled)

    def _of_part(self, seed: int, epoch: int, part: int) -> Int64[np.ndarray, " draws"]:
        """Return what an epoch draws of a part: a piece of an endless row of permutations."""
        size, count = self.sizes[part], self.counts[part]
        if not count:
            return np.empty(0, np.int64)
        first, last = epoch * count // size, ((epoch + 1) * count - 1) // size
        rounds = [
            np.random.default_rng(np.random.SeedSequence([seed, part, number], spawn_key=(2,))).permutation(size)
            for number in range(first, last + 1)
        ]
        start = epoch * count - first * size
        return np.concatenate(rounds)[start : start + count]


def occurrences(values: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Return how often each value occurred before, in the same order.

    Example:
        >>> occurrences(np.array([4, 7, 4, 4, 7])).tolist()
        [0, 0, 1, 2, 1]
    """
    order = np.argsort(values, kind="stable")
    in_order = values[order]
    first = np.searchsorted(in_order, in_order, side="left")
    counted = np.empty(len(values), np.int64)
    counted[order] = np.arange(len(values)) - first
    return counted


def _rounded(draws: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Split a number of draws by shares; what rounding leaves goes to the largest remainders."""
    total = sum(shares)
    if total <= 0:
        raise UserError("data.parts: the shares of all parts are 0; set one above it")
    exact = [draws * share / total for share in shares]
    counts = [int(value) for value in exact]
    for part in sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])[: draws - sum(counts)]:
        counts[part] += 1
    return tuple(counts)
