"""Which second scan each scan is mixed with."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64


def partners(seed: int, epoch: int, num_scans: int) -> Int64[np.ndarray, " scans"]:
    """Return the second scan of each scan: a function of (seed, epoch) alone, so of no worker, rank or resume.

    The scans form one random ring, each mixed with the next: none with itself, unless it is the only one, and in an
    epoch each is the second scan of exactly one other. The ring has a stream of its own: it is independent of the
    order in which a sampler deals out the scans, and of the draws within a sample.

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
