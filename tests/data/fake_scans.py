"""Made-up points and labels."""

from __future__ import annotations

import numpy as np

RAW_IDS = np.array([0, 1, 10, 11, 13, 15, 40, 48, 50, 60, 70, 81, 252, 259])


def random_points(num_points: int, seed: int = 0, extent: float = 20.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-extent, extent, (num_points, 3)) * (1, 1, 0.1)
    return np.c_[xyz, rng.random(num_points)].astype(np.float32)
