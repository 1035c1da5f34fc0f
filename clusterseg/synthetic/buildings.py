"""Buildings and fences, by shape mode, and hoardings."""

from __future__ import annotations

import numpy as np

from clusterseg.synthetic.materials import M
from clusterseg.synthetic.solids import Part, box, upright

_CELLAR = 3.0


def building(mode: str, width: float, depth: float, rng: np.random.Generator) -> list[Part]:
    """A building whose front is the face towards -y, centred on the origin.

    Args:
        mode: "terrace", "detached", "block", "hall" or "shed".
        width: Along x, in metres.
        depth: Along y, in metres.
        rng: Decides storeys, surface and details.
    """
    storeys = {"terrace": 3, "detached": 2, "block": 5, "hall": 2, "shed": 1}[mode]
    wall_height = 2.9 * storeys * float(rng.uniform(0.92, 1.08))
    surface = {"hall": M.SHEET, "shed": M.WOOD}.get(mode, M.BRICK if rng.random() < 0.4 else M.PLASTER)
    tint = float(rng.uniform(0.7, 1.25))
    x, y = width / 2, depth / 2
    low = wall_height / 2 - _CELLAR / 2
    parts = [box((0, 0, low), (x, y, wall_height / 2 + _CELLAR / 2), surface, tint=tint)]
    if mode in ("terrace", "detached", "shed"):
        parts += _gable(x, y, wall_height)
    if mode == "detached":
        door = float(rng.uniform(-0.5, 0.5)) * x
        parts += [
            box((door, -y - 0.6, 2.4), (1.1, 0.7, 0.08), M.TILES),
            *(upright(door + side, -y - 1.1, -0.5, 2.4, 0.08, M.WOOD) for side in (-0.9, 0.9)),
            box((door, -y - 0.6, -0.3), (1.1, 0.7, 0.5), M.CONCRETE),
        ]
    if mode == "terrace":
        for at in np.arange(-x + 2.5, x - 1, 6.0):
            parts.append(box((at, -y - 0.15, 1.0), (0.9, 0.25, 2.6), surface, tint=tint))
    if mode == "block":
        for at in np.arange(-x + 3, x - 1.5, 5.6):
            parts += [box((at, -y - 0.6, h), (1.3, 0.65, 0.55), M.WALL) for h in (3.4, 6.3, 9.2)]
    if mode == "hall":
        parts += [box((at, -y - 0.06, 1.6), (1.6, 0.08, 1.7), M.STEEL) for at in np.arange(-x + 4, x - 2, 9.0)]
    return parts


def _gable(x: float, y: float, wall_height: float) -> list[Part]:
    """Two roof planes over the ridge along x."""
    slope = 0.7
    half = (y + 0.4) / np.cos(slope) / 2
    lift = wall_height + (y / 2 - 0.2) * np.tan(slope)
    return [
        box((0, side * (y + 0.4) / 2, lift), (x + 0.3, half, 0.1), M.TILES, angles=(0.0, 0.0, -side * slope))
        for side in (-1, 1)
    ]


def fence(mode: str, length: float, rng: np.random.Generator) -> list[Part]:
    """A fence along x, `length` metres long, with its feet in the ground."""
    half, tint = length / 2, float(rng.uniform(0.75, 1.25))
    posts = np.arange(-half, half + 0.1, 2.4)
    if mode == "wall":
        height = float(rng.uniform(0.9, 1.9))
        return [
            box((0, 0, height / 2 - 0.25), (half, 0.15, height / 2 + 0.25), M.WALL, tint=tint),
            box((0, 0, height), (half, 0.2, 0.05), M.CONCRETE, tint=tint),
        ]
    if mode == "picket":
        return [
            box((0, 0, 0.5), (half, 0.02, 0.6), M.SLATS, tint=tint),
            *(box((0, 0.04, z), (half, 0.02, 0.04), M.WOOD, tint=tint) for z in (0.35, 0.85)),
        ]
    if mode == "mesh":
        rods = [upright(x, 0, -0.2, 1.75, 0.035, M.STEEL) for x in posts]
        return [box((0, 0, 0.8), (half, 0.01, 0.85), M.MESH), *rods]
    if mode == "panel":
        boards = [box((x + 1.2, 0, 0.85), (1.13, 0.025, 0.8), M.WOOD, tint=tint) for x in posts[:-1]]
        return boards + [box((x, 0, 0.8), (0.06, 0.06, 1.0), M.CONCRETE) for x in posts]
    rail = box((0, 0, 0.6), (half, 0.04, 0.16), M.STEEL, tint=1.4)
    return [rail, *(upright(x, 0.06, -0.2, 0.7, 0.06, M.STEEL) for x in posts)]


def hoarding(length: float, height: float, surface: M, rng: np.random.Generator) -> list[Part]:
    """A closed fence along x, as around a building site: panels that differ in tint and height, some with a gap."""
    count = max(1, round(length / float(rng.uniform(1.8, 3.6))))
    half = length / count / 2
    parts = []
    for x in np.linspace(-length / 2 + half, length / 2 - half, count):
        top = height * float(rng.uniform(0.92, 1.0))
        tint = float(rng.uniform(0.1, 0.4) if rng.random() < 0.2 else rng.uniform(0.7, 1.5))
        back = float(rng.uniform(-0.06, 0.06))
        if rng.random() < 0.15:  # a window: open between a low and a high board
            parts += [box((x, back, z), (half, 0.04, 0.2 * top), surface, tint=tint) for z in (0.2 * top, 0.8 * top)]
        elif rng.random() < 0.95:
            parts.append(box((x, back, top / 2 - 0.15), (half, 0.04, top / 2 + 0.15), surface, tint=tint))
        parts.append(upright(x - half, 0.1, -0.2, top, 0.04, M.STEEL))
    return parts
