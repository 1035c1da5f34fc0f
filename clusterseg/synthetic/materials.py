"""Materials: reflectance, penetration depth and dropout rate of surfaces for laser pulses."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np


class Material(NamedTuple):
    """Optical and fine-grained properties of a surface.

    Attributes:
        remission: Mean remission at normal incidence, in [0, 1].
        spread: Relative standard deviation of the remission from pulse to pulse.
        loss: Chance that a pulse at normal incidence gives no return.
        dark: Chance that a return is so weak that its remission reads 0.
        depth: Mean free path inside, in metres; 0 for an opaque surface (leaves let pulses in).
        gap: Chance that a pulse passes through without touching (meshes, spokes).
        pitch: Distance between slats, in metres, along the solid's x axis; 0 without slats.
        fill: Part of the pitch that a slat covers.
        relief: Depth of the windows in a facade, in metres; 0 without windows.
        rough: Roughness, in metres along the ray.
    """

    remission: float
    spread: float = 0.25
    loss: float = 0.0
    dark: float = 0.0
    depth: float = 0.0
    gap: float = 0.0
    pitch: float = 0.0
    fill: float = 1.0
    relief: float = 0.0
    rough: float = 0.0


class M(IntEnum):
    """Row of each material in `TABLE`."""

    ASPHALT = 0
    WORN = 1
    CONCRETE = 2
    COBBLE = 3
    PAINT_LINE = 4
    SLABS = 5
    PAVING = 6
    GRAVEL = 7
    LAWN = 8
    MEADOW = 9
    SOIL = 10
    TUSSOCK = 11
    CAR_PAINT = 12
    GLASS = 13
    RUBBER = 14
    PLATE = 15
    SHEET = 16
    PLASTER = 17
    BRICK = 18
    WALL = 19
    TILES = 20
    WOOD = 21
    SLATS = 22
    MESH = 23
    STEEL = 24
    LEAVES = 25
    HEDGE = 26
    NEEDLES = 27
    SCRUB = 28
    BARK = 29
    CLOTH = 30
    SPOKES = 31
    RETRO = 32


MATERIALS: dict[M, Material] = {
    M.ASPHALT: Material(0.29, 0.25, dark=0.06),
    M.WORN: Material(0.31, 0.2, dark=0.03, rough=0.004),
    M.CONCRETE: Material(0.38, 0.15, dark=0.02),
    M.COBBLE: Material(0.29, 0.35, dark=0.04, rough=0.012),
    M.PAINT_LINE: Material(0.5, 0.2),
    M.SLABS: Material(0.33, 0.14),
    M.PAVING: Material(0.35, 0.22, rough=0.006),
    M.GRAVEL: Material(0.28, 0.3, dark=0.03, rough=0.02),
    M.LAWN: Material(0.4, 0.14, rough=0.03),
    M.MEADOW: Material(0.38, 0.2, rough=0.08),
    M.SOIL: Material(0.27, 0.25, rough=0.03),
    M.TUSSOCK: Material(0.37, 0.3, rough=0.14),
    M.CAR_PAINT: Material(0.3, 0.5, loss=0.03, dark=0.3),
    M.GLASS: Material(0.1, 0.6, loss=0.45, dark=0.6),
    M.RUBBER: Material(0.07, 0.5, loss=0.08, dark=0.4),
    M.PLATE: Material(0.9, 0.1),
    M.SHEET: Material(0.38, 0.3, loss=0.02, dark=0.08),
    M.PLASTER: Material(0.42, 0.22, relief=0.2),
    M.BRICK: Material(0.32, 0.25, relief=0.16),
    M.WALL: Material(0.33, 0.25, rough=0.012),
    M.TILES: Material(0.28, 0.3),
    M.WOOD: Material(0.36, 0.25),
    M.SLATS: Material(0.36, 0.25, pitch=0.16, fill=0.65),
    M.MESH: Material(0.25, 0.4, gap=0.55, dark=0.1),
    M.STEEL: Material(0.28, 0.5, loss=0.03, dark=0.25),
    M.LEAVES: Material(0.34, 0.35, dark=0.1, depth=0.5, gap=0.03),
    M.HEDGE: Material(0.34, 0.35, dark=0.08, depth=0.2),
    M.NEEDLES: Material(0.28, 0.35, dark=0.15, depth=0.4),
    M.SCRUB: Material(0.31, 0.35, dark=0.12, depth=0.45),
    M.BARK: Material(0.34, 0.25, dark=0.04, rough=0.01),
    M.CLOTH: Material(0.36, 0.4, dark=0.05),
    M.SPOKES: Material(0.25, 0.5, gap=0.7, dark=0.1),
    M.RETRO: Material(0.85, 0.25),
}

TABLE: dict[str, np.ndarray] = {
    field: np.array([getattr(MATERIALS[m], field) for m in M], np.float32) for field in Material._fields
}
"""The same, one column (materials,) per property, for gathering by material index."""
