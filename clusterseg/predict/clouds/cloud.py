"""One point cloud as read from a file, and as the network wants it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from clusterseg.errors import UserError

REMISSION_NAMES = ("remission", "intensity", "reflectance", "reflectivity", "scalar_intensity", "i")
_FAR = 1000.0  # metres; no lidar's scan has its middle so far from the sensor
_GROUND = -1.73  # metres; height of the road in SemanticKITTI's sensor frame


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points as in the file.

    Attributes:
        xyz: Coordinates in metres.
        remission: Strength of the returned beam in the file's own scale, or None where the file has none.
    """

    xyz: Float64[np.ndarray, "points 3"]
    remission: Float64[np.ndarray, " points"] | None

    def offset(self) -> Float64[np.ndarray, " 3"]:
        """What to subtract for a frame like the sensor's: 0 unless the cloud lies far away, as in map coordinates.

        Then its median moves to the origin, and its ground (5 % of the points lie below) to the height of a road.
        """
        finite = self.xyz[np.isfinite(self.xyz).all(1)]
        if not len(finite) or np.linalg.norm(np.median(finite, axis=0)) < _FAR:
            return np.zeros(3)
        x, y = np.median(finite[:, :2], axis=0)
        return np.array([x, y, np.percentile(finite[:, 2], 5) - _GROUND])

    def points(self, remission_scale: float) -> Float32[np.ndarray, "points 4"]:
        """Return x, y, z and remission in 0..1 for the network.

        Args:
            remission_scale: The file's value that means 1.
        """
        remission = np.zeros(len(self.xyz)) if self.remission is None else self.remission / remission_scale
        return np.c_[self.xyz - self.offset(), remission].astype(np.float32)


def from_fields(fields: Mapping[str, np.ndarray]) -> Cloud:
    """A cloud from named columns; the names do not mind case.

    Raises:
        UserError: x, y or z is not among them.
    """
    lower = {name.lower(): values for name, values in fields.items()}
    missing = [axis for axis in "xyz" if axis not in lower]
    if missing:
        raise UserError(f"has no field {', '.join(missing)}; found {', '.join(fields) or 'none'}; expected x, y, z")
    name = next((name for name in REMISSION_NAMES if name in lower), None)
    xyz = np.stack([lower[axis].astype(np.float64) for axis in "xyz"], axis=1)
    return Cloud(xyz, None if name is None else lower[name].astype(np.float64))


def remission_scale(largest: float) -> float:
    """The value that means 1, from the largest remission found: 1, 255 (8 bits) or 65535 (16 bits).

    A float scale may overshoot 1 a little.
    """
    return 1.0 if largest <= 1.5 else 255.0 if largest <= 255 else 65535.0
