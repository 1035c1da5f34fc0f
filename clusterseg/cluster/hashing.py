"""A hash of integers: random numbers that depend on nothing but what is hashed."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

KEY_RANGE = 2**32


def mix(x: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Bijective hash of 32-bit integers stored in int64 (xor-shift-multiply; both factors odd, below 2^31)."""
    x = x ^ (x >> 16)
    x.mul_(0x7FEB352D).bitwise_and_(KEY_RANGE - 1)
    x ^= x >> 15
    x.mul_(0x6C8E9CF5).bitwise_and_(KEY_RANGE - 1)
    x ^= x >> 16
    return x
