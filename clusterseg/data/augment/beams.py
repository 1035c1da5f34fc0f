"""Which beam of the sensor saw a point, from the points alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

# Turns of the azimuth in a file that came beam by beam; sensors have 16 to 128 beams, and a mixed scan is of two.
_FEWEST_TURNS, _MOST_TURNS = 8, 256


def beams_of(points: Float32[np.ndarray, "points channels"], spacing: float) -> Int64[np.ndarray, " points"]:
    """Return a number from 0 for each point, the same for all of a beam; a number may be of no point.

    A `.bin` file does not say the beam. SemanticKITTI's scans come beam by beam, each a turn from x towards y, which
    gives its 64 beams exactly; the inclination would not: within a beam it spreads by a degree, as the vehicle moves
    during the turn. Where the order of the points shows no turns, points whose inclination falls into the same step
    count as one beam.

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

    Each turn begins at the x axis or close to it; a beam that begins a little before must not count twice.
    """
    angle = (azimuth + 0.01) % (2 * np.pi)
    return np.cumsum(np.diff(angle, prepend=angle[:1]) < -np.pi)
