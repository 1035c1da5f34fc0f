"""Column layouts of files without column names: .bin, and .npy arrays without fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from clusterseg.data.clouds.cloud import FEATURES, Cloud, from_fields
from clusterseg.errors import UserError

# The float32 columns of data sets' .bin files. nuScenes: intensity in 0..255. Waymo: as mmdetection3d converts it.
FORMATS: Mapping[str, tuple[str, ...]] = {
    "kitti": ("x", "y", "z", "remission"),
    "nuscenes": ("x", "y", "z", "intensity", "ring"),
    "waymo": ("x", "y", "z", "intensity", "elongation", "timestamp"),
    "xyz": ("x", "y", "z"),
}
SCALES: Mapping[str, float] = {"kitti": 1.0, "nuscenes": 255.0}  # the remission that maps to 1


@dataclass(frozen=True)
class Layout:
    """How to read columns without names.

    Attributes:
        columns: Names of the columns, or None if the user gave none.
        features: Input columns of the network; an array with as many columns has these.
        remission_scale: The remission that maps to 1, if the named data set documents it.
        topic: The topic of recordings to read; None if the user named none.
    """

    columns: tuple[str, ...] | None = None
    features: tuple[str, ...] = FEATURES
    remission_scale: float | None = None
    topic: str | None = None

    def cloud(self, rows: np.ndarray) -> Cloud:
        """Build a cloud from an array (points, columns).

        Raises:
            UserError: The number of columns is wrong, or their names are unknown.
        """
        names = self._names(rows.shape[1])
        return from_fields({name: rows[:, i] for i, name in enumerate(names)})

    def _names(self, count: int) -> tuple[str, ...]:
        known = self.columns or {3: FEATURES[:3], 4: FEATURES, len(self.features): self.features}.get(count)
        if known is not None and len(known) == count:
            return known
        if self.columns is not None:
            raise UserError(f"has {count} columns, but columns={_shown(self.columns)} names {len(self.columns)}")
        raise UserError(
            f"has {count} columns; expected (points, 4): x, y, z, remission, or (points, 3) without remission; "
            "name them, as columns=[x,y,z,intensity,ring]"
        )


def choose_layout(columns: Any, name: str | None, features: Iterable[str] = FEATURES) -> Layout:
    """Return the layout of the settings `columns` and `format`.

    Raises:
        UserError: There is no such format, x, y or z is not named, or a name comes twice.
    """
    if name is not None and str(name).lower() not in FORMATS:
        raise UserError(
            f"format={name}: no such format; choose one of {', '.join(FORMATS)}, or name columns=[x,y,z,...]"
        )
    if name is not None and columns is not None:
        raise UserError(f"format={name} and columns are both set; set one of them")
    if name is not None:
        return Layout(FORMATS[str(name).lower()], tuple(features), SCALES.get(str(name).lower()))
    if columns is None:
        return Layout(None, tuple(features))
    listed = (columns,) if isinstance(columns, str) else columns
    if not isinstance(listed, Iterable):
        raise UserError(f"columns={columns}: expected names, as columns=[x,y,z,intensity,ring]")
    names = tuple(str(entry).lower() for entry in listed)
    if len(set(names)) != len(names) or not {"x", "y", "z"} <= set(names):
        raise UserError(f"columns={_shown(names)}: expected x, y, z and other names, each once")
    return Layout(names, tuple(features))


def _shown(names: tuple[str, ...]) -> str:
    return f"[{','.join(names)}]"
