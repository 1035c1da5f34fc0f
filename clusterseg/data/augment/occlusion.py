"""What a thing hides from the sensor."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

# A grid of angles in degrees, twice as coarse as SemanticKITTI's rays, so that a thing's points leave no holes in it.
_AZIMUTH_STEP, _INCLINATION_STEP = 0.4, 0.8
_COLUMNS, _ROWS = 900, 226
_GAP = 0.5  # metres that a point must be farther than the thing in front of it


def hidden(
    points: Float32[np.ndarray, "points channels"], things: Float32[np.ndarray, "thing_points channels"]
) -> Bool[np.ndarray, " points"]:
    """Say which points lie behind a thing as seen from the sensor.

    Such a point shares a cell of 0.4 degrees of azimuth and 0.8 of inclination with a point of a thing that is at
    least half a metre nearer. A point that is not finite is not hidden.

    Args:
        points: x, y, z in metres in the sensor's frame, and further channels.
        things: The same of what may hide them.
    """
    nearest = np.full(_COLUMNS * _ROWS, np.inf)
    cell, distance = _cells(things)
    np.minimum.at(nearest, cell, distance)
    cell, distance = _cells(points)
    return distance > nearest.take(cell) + _GAP


def _cells(
    points: Float32[np.ndarray, "points channels"],
) -> tuple[Int64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
    """Return the cell of each point and its distance in metres."""
    x, y, z = np.nan_to_num(points[:, :3]).T.astype(np.float64)
    ground_distance = np.sqrt(x * x + y * y)
    column = np.floor((np.degrees(np.arctan2(y, x)) + 180) / _AZIMUTH_STEP).astype(np.int64) % _COLUMNS
    row = np.floor((np.degrees(np.arctan2(z, ground_distance)) + 90) / _INCLINATION_STEP).astype(np.int64)
    return row * _COLUMNS + column, np.sqrt(ground_distance**2 + z * z)
