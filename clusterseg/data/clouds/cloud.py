"""One point cloud as read from a file, and its conversion to network input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64

from clusterseg.data.clouds.origin import find_offset
from clusterseg.errors import UserError

REMISSION_NAMES = ("remission", "intensity", "reflectance", "reflectivity", "scalar_intensity", "i")
FEATURES = ("x", "y", "z", "remission")


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points as in the file.

    Attributes:
        xyz: Coordinates in metres.
        remission: Intensity of the return in the file's own scale, or None if the file has none.
        fields: The other numeric columns, by lower-case name.
        remission_type: The data type of the remission in the file.
    """

    xyz: Float64[np.ndarray, "points 3"]
    remission: Float64[np.ndarray, " points"] | None
    fields: Mapping[str, np.ndarray] = field(default_factory=dict)
    remission_type: np.dtype = np.dtype(np.float64)  # noqa: RUF009  (a dtype is immutable)

    def offset(self) -> Float64[np.ndarray, " 3"]:
        """Offset to subtract for a sensor-like frame; see `find_offset`."""
        return find_offset(self.xyz)

    def points(
        self,
        remission_scale: float,
        features: Sequence[str] = FEATURES,
        offset: Float64[np.ndarray, " 3"] | None = None,
    ) -> Float32[np.ndarray, "points channels"]:
        """Return the input columns of a network.

        Args:
            remission_scale: The value in the file that maps to 1.
            features: Names of the columns. The first three are x, y, z; `remission` or `intensity` is scaled to 0..1,
                and is 0 if the file has none; others are unchanged.
            offset: Offset to subtract from x, y, z; None finds it.

        Raises:
            UserError: The file has no such column.
        """
        offset = self.offset() if offset is None else offset
        with np.errstate(over="ignore", invalid="ignore"):  # extreme values stay unchanged
            moved = self.xyz - offset
            others = [self._column(name, remission_scale) for name in features[3:]]
            return np.column_stack([moved, *others]).astype(np.float32)

    def _column(self, name: str, remission_scale: float) -> np.ndarray:
        if name in ("remission", "intensity"):
            return np.zeros(len(self.xyz)) if self.remission is None else self.remission / remission_scale
        if name not in self.fields:
            has = ["x", "y", "z", *([] if self.remission is None else ["remission"]), *self.fields]
            raise UserError(
                f"has no field {name}, which the network takes; found {', '.join(has)}; write it into the file, or "
                "name the columns of a .bin or .npy file, as columns=[x,y,z,intensity,ring]"
            )
        return self.fields[name]


def from_fields(fields: Mapping[str, np.ndarray]) -> Cloud:
    """Build a cloud from named columns; names are case-insensitive.

    Raises:
        UserError: Column x, y or z is missing.
    """
    lower = {name.lower(): values for name, values in fields.items()}
    missing = [axis for axis in "xyz" if axis not in lower]
    if missing:
        raise UserError(f"has no field {', '.join(missing)}; found {', '.join(fields) or 'none'}; expected x, y, z")
    name = next((name for name in REMISSION_NAMES if name in lower), None)
    xyz = np.stack([lower.pop(axis).astype(np.float64) for axis in "xyz"], axis=1)
    if name is None:
        return Cloud(xyz, None, lower)
    remission = lower.pop(name)
    return Cloud(xyz, remission.astype(np.float64), lower, remission.dtype)
