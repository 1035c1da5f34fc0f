"""Find the points that an object occludes from the sensor."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

# Grid of angles in degrees, twice as coarse as SemanticKITTI's rays, so that an object covers it without holes.
_AZIMUTH_STEP, _INCLINATION_STEP = 0.4, 0.8
_COLUMNS, _ROWS = 900, 226
_GAP = 0.5  # metres; minimum distance of an occluded point behind the object


def hidden(
    points: Float32[np.ndarray, "points channels"], things: Float32[np.ndarray, "thing_points channels"]
) -> Bool[np.ndarray, " points"]:
    """Return a mask of the points occluded by an object as seen from the sensor.

    An occluded point shares a cell of 0.4 degrees of azimuth and 0.8 of inclination with an object's point that is
    at least half a metre nearer. A point that is not finite is never occluded.

    Args:
        points: x, y, z in metres in the sensor's frame, and further channels.
        things: The same for the occluding objects.
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
