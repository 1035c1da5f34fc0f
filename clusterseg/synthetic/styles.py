"""The styles of a town's ground: one instance id for each mode of each kind of ground."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from clusterseg.synthetic.labels import Raw
from clusterseg.synthetic.materials import M
from clusterseg.synthetic.modes import ModeRegister

_MATERIAL: dict[tuple[Raw, str], M] = {
    (Raw.ROAD, "asphalt"): M.ASPHALT,
    (Raw.ROAD, "worn"): M.WORN,
    (Raw.ROAD, "concrete"): M.CONCRETE,
    (Raw.ROAD, "cobble"): M.COBBLE,
    (Raw.PARKING, "asphalt"): M.WORN,
    (Raw.PARKING, "paving"): M.PAVING,
    (Raw.PARKING, "gravel"): M.GRAVEL,
    (Raw.SIDEWALK, "slabs"): M.SLABS,
    (Raw.SIDEWALK, "asphalt"): M.WORN,
    (Raw.SIDEWALK, "paving"): M.PAVING,
    (Raw.OTHER_GROUND, "gravel"): M.GRAVEL,
    (Raw.OTHER_GROUND, "plaza"): M.CONCRETE,
    (Raw.OTHER_GROUND, "track"): M.COBBLE,
    (Raw.TERRAIN, "lawn"): M.LAWN,
    (Raw.TERRAIN, "meadow"): M.MEADOW,
    (Raw.TERRAIN, "soil"): M.SOIL,
    (Raw.TERRAIN, "tussock"): M.TUSSOCK,
}


class Styles:
    """Hands out style numbers; the same (raw id, mode) gets the same number."""

    def __init__(self, register: ModeRegister) -> None:
        self.register = register
        self._numbers: dict[tuple[Raw, str], int] = {}
        self._rows: list[tuple[int, int]] = []

    def get(self, raw: Raw, mode: str) -> int:
        """Number of a style; paint on a road carries the mode of the road."""
        if (raw, mode) not in self._numbers:
            material = M.PAINT_LINE if raw == Raw.LANE_MARKING else _MATERIAL[raw, mode]
            self._numbers[raw, mode] = len(self._rows)
            self._rows.append((self.register.add(raw, mode), int(material)))
        return self._numbers[raw, mode]

    def table(self) -> Int[np.ndarray, "styles 2"]:
        """Instance id and material of each style."""
        return np.array(self._rows, int).reshape(-1, 2)
