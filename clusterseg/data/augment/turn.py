"""Rotation about the z axis of the sensor, which preserves distance, height and density."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32


def turned(points: Float32[np.ndarray, "points channels"], angle: float) -> Float32[np.ndarray, "points channels"]:
    """Return the points with x and y rotated by an angle in radians, from x towards y; other channels stay."""
    result = points.copy()
    result[:, 0], result[:, 1] = (axis[0] for axis in turned_xy(points, [angle]))
    return result


def turned_xy(
    points: Float32[np.ndarray, "points channels"], angles: Sequence[float]
) -> tuple[Float32[np.ndarray, "angles points"], Float32[np.ndarray, "angles points"]]:
    """Return x and y of the points rotated by each of several angles, as `turned` does."""
    cos, sin = (np.array([[of(angle)] for angle in angles], np.float32) for of in (math.cos, math.sin))
    x, y = points[:, 0], points[:, 1]
    return cos * x - sin * y, sin * x + cos * y
