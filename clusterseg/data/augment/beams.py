"""Recover the sensor beam of each point from the points alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

# Number of azimuth turns in a file ordered by beam; sensors have 16 to 128 beams, and a mixed scan has two scans.
_FEWEST_TURNS, _MOST_TURNS = 8, 256


def beams_of(points: Float32[np.ndarray, "points channels"], spacing: float) -> Int64[np.ndarray, " points"]:
    """Return the beam number of each point, from 0; some numbers may be unused.

    A `.bin` file does not store the beam. SemanticKITTI's scans are ordered by beam, each a turn from x towards y,
    which gives its 64 beams exactly. The inclination does not: within a beam it varies by a degree, because the vehicle
    moves during the turn. If the order of the points shows no turns, points in the same step of inclination form one
    beam.

    Args:
        points: x, y, z in metres in the sensor's frame, and further channels, in the order of the file and not rotated.
        spacing: Degrees of a step of inclination.
    """
    x, y, z = np.nan_to_num(points[:, :3]).T.astype(np.float64)
    turn = _turns(np.arctan2(y, x))
    if _FEWEST_TURNS <= turn.max(initial=0) + 1 <= _MOST_TURNS:
        return turn
    step = np.floor(np.degrees(np.arctan2(z, np.sqrt(x * x + y * y))) / spacing).astype(np.int64)
    return step - step.min(initial=0)


def _turns(azimuth: np.ndarray) -> Int64[np.ndarray, " points"]:
    """Count, up to each point, how often the azimuth fell back by more than half a turn.

    Each turn starts at or near the x axis; a beam that starts slightly before it must not count twice.
    """
    angle = (azimuth + 0.01) % (2 * np.pi)
    return np.cumsum(np.diff(angle, prepend=angle[:1]) < -np.pi)
