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
        things: The same for the occluding objects; all are finite.
    """
    column = _columns(things)
    nearest = np.full(_COLUMNS * _ROWS, np.inf)
    np.minimum.at(nearest, _rows(things) * _COLUMNS + column, _distances(things))
    occupied = np.bincount(column, minlength=_COLUMNS) > 0
    distance = _distances(points)
    chosen = np.flatnonzero(np.isfinite(distance))
    column = _columns(points.take(chosen, axis=0))
    with_object = occupied.take(column)  # angles are dear: the inclination of these points only
    chosen, column = chosen[with_object], column[with_object]
    cell = _rows(points.take(chosen, axis=0)) * _COLUMNS + column
    result = np.zeros(len(points), bool)
    result[chosen] = distance.take(chosen) > nearest.take(cell) + _GAP
    return result


def _columns(points: Float32[np.ndarray, "points channels"]) -> Int64[np.ndarray, " points"]:
    """Return the cell of each point in azimuth; all are finite."""
    x, y = points[:, :2].T.astype(np.float64)
    return np.floor((np.degrees(np.arctan2(y, x)) + 180) / _AZIMUTH_STEP).astype(np.int64) % _COLUMNS


def _rows(points: Float32[np.ndarray, "points channels"]) -> Int64[np.ndarray, " points"]:
    """Return the cell of each point in inclination; all are finite."""
    x, y, z = points[:, :3].T.astype(np.float64)
    return np.floor((np.degrees(np.arctan2(z, np.sqrt(x * x + y * y))) + 90) / _INCLINATION_STEP).astype(np.int64)


def _distances(points: Float32[np.ndarray, "points channels"]) -> Float64[np.ndarray, " points"]:
    """Return the distance of each point in metres."""
    x, y, z = points[:, :3].T.astype(np.float64)
    return np.sqrt(x * x + y * y + z * z)
