"""Random transforms of a scan: pure functions of the points and a numpy generator.

Each takes points (N, channels), first x, y, z in metres, and returns new ones; other columns never change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32

from clusterseg.errors import UserError

Transform: TypeAlias = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class RandomRotation:
    """Rotate about the z axis by an angle drawn uniformly from [-max_angle, max_angle].

    Attributes:
        max_angle: Radians; pi covers the whole turn, as SPVNAS trains.

    Examples:
        >>> points = np.array([[1, 0, 0, 0.5]], np.float32)
        >>> turned = RandomRotation()(points, np.random.default_rng(0))
        >>> round(float(np.hypot(*turned[0, :2])), 4), turned[0, 2:]
        (1.0, array([0. , 0.5], dtype=float32))
    """

    max_angle: float = math.pi

    def __call__(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "points channels"]:
        """Return the rotated points."""
        angle = rng.uniform(-self.max_angle, self.max_angle)
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        rotated = points.copy()
        rotated[:, 0] = cos * points[:, 0] - sin * points[:, 1]
        rotated[:, 1] = sin * points[:, 0] + cos * points[:, 1]
        return rotated


@dataclass(frozen=True)
class RandomScale:
    """Scale x, y and z by one factor drawn uniformly from [low, high].

    Raises:
        UserError: Not 0 < low <= high.

    Examples:
        >>> points = np.array([[1, 2, 3, 0.5]], np.float32)
        >>> RandomScale(low=2, high=2)(points, np.random.default_rng(0))
        array([[2. , 4. , 6. , 0.5]], dtype=float32)
    """

    low: float = 0.95
    high: float = 1.05

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise UserError(f"data.augmentation.scale: got low={self.low}, high={self.high}; expected 0 < low <= high")

    def __call__(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "points channels"]:
        """Return the scaled points."""
        scaled = points * np.float32(rng.uniform(self.low, self.high))
        scaled[:, 3:] = points[:, 3:]
        return scaled


@dataclass(frozen=True)
class RandomFlip:
    """Mirror the scan: negate x with probability `x`, and y with probability `y`, independently.

    Raises:
        UserError: A probability lies outside [0, 1].

    Examples:
        >>> points = np.array([[1, 2, 3, 0.5]], np.float32)
        >>> RandomFlip(x=0, y=1)(points, np.random.default_rng(0))
        array([[ 1. , -2. ,  3. ,  0.5]], dtype=float32)
    """

    x: float = 0.5
    y: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.x <= 1 and 0 <= self.y <= 1):
            raise UserError(f"data.augmentation.flip: got x={self.x}, y={self.y}; expected probabilities in [0, 1]")

    def __call__(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "points channels"]:
        """Return the points, mirrored or not."""
        negate = rng.random(2) < (self.x, self.y)
        flipped = points.copy()
        for axis in np.flatnonzero(negate):
            flipped[:, axis] *= -1  # np.negative into a strided column is wrong in numpy 2.4.6
        return flipped
