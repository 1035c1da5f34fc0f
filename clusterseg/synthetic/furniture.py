"""Poles, signs and the small things that stand in streets, by shape mode."""

from __future__ import annotations

import numpy as np

from clusterseg.synthetic.materials import M
from clusterseg.synthetic.solids import Kind, Part, box, ellipsoid, upright


def pole(mode: str, rng: np.random.Generator) -> list[Part]:
    """A pole; the arm of a lamp reaches towards -y."""
    if mode == "bollard":
        return [upright(0, 0, -0.2, float(rng.uniform(0.75, 1.0)), 0.09, M.STEEL, tint=1.3)]
    if mode == "telegraph":
        return [
            upright(0, 0, -0.2, 8.0, 0.16, M.WOOD),
            box((0, 0, 7.2), (0.06, 0.8, 0.06), M.WOOD),
        ]
    if mode == "post":
        return [upright(0, 0, -0.2, float(rng.uniform(2.2, 2.8)), 0.045, M.STEEL)]
    return [
        upright(0, 0, -0.2, 1.1, 0.12, M.STEEL),
        upright(0, 0, 1.1, float(rng.uniform(5, 8)), 0.08, M.STEEL),
        box((0, -0.7, 6.0), (0.05, 0.8, 0.05), M.STEEL),
    ]


def sign(mode: str, rng: np.random.Generator) -> list[Part]:
    """The plate of a traffic sign facing -x; its bottom at 1.5 to 2 metres."""
    bottom, size = float(rng.uniform(1.5, 2.0)), float(rng.uniform(0.9, 1.2))
    if mode == "disc":
        r = 0.33 * size
        return [Part(Kind.CYLINDER, (-0.06, 0, bottom + r), (r, r, 0.015), M.RETRO, (0.0, np.pi / 2, 0.0))]
    if mode == "triangle":
        # three strips that narrow upwards
        rows = ((0.12, 0.4), (0.36, 0.27), (0.58, 0.12))
        return [box((-0.06, 0, bottom + z * size), (0.015, y * size, 0.12 * size), M.RETRO) for z, y in rows]
    if mode == "panel":
        return [box((-0.06, 0, bottom + 0.45 * size), (0.015, 0.3 * size, 0.45 * size), M.RETRO)]
    return [box((-0.06, 0, bottom + 0.6 * size), (0.02, 1.1 * size, 0.6 * size), M.RETRO)]


def litter_bin(rng: np.random.Generator) -> list[Part]:
    """A bin on wheels or on a foot."""
    if rng.random() < 0.6:
        return [box((0, 0, 0.55), (0.29, 0.27, 0.5), M.SHEET, tint=float(rng.uniform(0.4, 1)))]
    return [upright(0, 0, 0.3, 0.95, 0.22, M.STEEL), upright(0, 0, 0, 0.3, 0.05, M.STEEL)]


def bench(rng: np.random.Generator) -> list[Part]:
    """A bench facing -y."""
    return [
        box((0, 0, 0.45), (0.9, 0.22, 0.03), M.WOOD),
        box((0, 0.22, 0.7), (0.9, 0.03, 0.2), M.WOOD),
        *(box((x, 0, 0.22), (0.05, 0.2, 0.22), M.STEEL) for x in (-0.7, 0.7)),
    ]


def cabinet(rng: np.random.Generator) -> list[Part]:
    """A switch cabinet or a heap of things beside the road."""
    if rng.random() < 0.6:
        return [box((0, 0, 0.6), (0.6, 0.2, 0.6), M.SHEET)]
    return [ellipsoid((x, y, 0.2), (0.5, 0.45, 0.5), M.CLOTH) for x, y in rng.normal(0, 0.5, (3, 2))]


def shelter(rng: np.random.Generator) -> list[Part]:
    """A bus shelter, open towards -y."""
    return [
        box((0, 0.7, 1.2), (2.0, 0.03, 1.0), M.GLASS),
        box((2.0, 0.2, 1.2), (0.03, 0.5, 1.0), M.GLASS),
        box((0, 0.1, 2.4), (2.1, 0.8, 0.06), M.STEEL),
        *(upright(x, 0.7, 0, 2.4, 0.05, M.STEEL) for x in (-2.0, 2.0)),
        box((0, 0.5, 0.45), (1.4, 0.18, 0.03), M.WOOD),
    ]
