"""The numbers that the golden values were made from, without a random generator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def uniform(t: int, n: int, salt: int = 1) -> np.ndarray:
    """n float64 numbers in [0, 1) for tensor number t: splitmix64 of i + t 2^32 + salt 2^48."""
    with np.errstate(over="ignore"):
        x = np.arange(n, dtype=np.uint64) + np.uint64((t << 32) + (salt << 48) + 1)
        x *= np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


def fill_state_dict(names: Sequence[tuple[str, Sequence[int]]]) -> dict[str, Tensor]:
    """The golden weights for (name, shape) in state-dict order, float32."""
    return {name: _fill(t, name, tuple(shape)) for t, (name, shape) in enumerate(names)}


def _fill(t: int, name: str, shape: tuple[int, ...]) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    s = 2 * uniform(t, int(np.prod(shape))) - 1
    if name.endswith("running_var"):
        s = 1 + 0.3 * s
    elif name.endswith("running_mean"):
        s = 0.1 * s
    elif len(shape) == 1:
        s = 1 + 0.2 * s if name.endswith("weight") else 0.1 * s
    else:
        s = s * np.sqrt(3 / _fan(name, shape))
    return torch.from_numpy(s.astype(np.float32)).reshape(shape)


def _fan(name: str, shape: tuple[int, ...]) -> int:
    """Inputs that reach one output: a 3x3x3 kernel meets about 8 voxels, a 2x2x2 one about 2."""
    if len(shape) == 3:
        return shape[1] * (8 if shape[0] == 27 else 2)
    return shape[0] if name.endswith("kernel") else shape[1]
