"""Choose the second scan that each scan is mixed with."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64


def partners(seed: int, epoch: int, num_scans: int) -> Int64[np.ndarray, " scans"]:
    """Return the second scan of each scan, a function of (seed, epoch) alone, not of workers, ranks or resumes.

    The scans form one random ring, and each is mixed with the next: never with itself, unless it is the only one, and
    each is the second scan of exactly one other per epoch. The ring has its own random stream: it is independent of
    the sampler's order and of the draws within a sample.

    Args:
        seed: Seed of the training data.
        epoch: The epoch, from 0.
        num_scans: Scans in the data set.
    """
    stream = np.random.SeedSequence([seed, epoch], spawn_key=(0,))
    ring = np.random.default_rng(stream).permutation(num_scans)
    second = np.empty(num_scans, np.int64)
    second[ring] = np.roll(ring, -1)
    return second
