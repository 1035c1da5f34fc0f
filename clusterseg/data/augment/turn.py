"""Rotation about the z axis of the sensor, which preserves distance, height and density."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32


def turned(points: Float32[np.ndarray, "points channels"], angle: float) -> Float32[np.ndarray, "points channels"]:
    """Return the points with x and y rotated by an angle in radians, from x towards y; other channels stay."""
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    result = points.copy()
    result[:, 0] = cos * points[:, 0] - sin * points[:, 1]
    result[:, 1] = sin * points[:, 0] + cos * points[:, 1]
    return result
