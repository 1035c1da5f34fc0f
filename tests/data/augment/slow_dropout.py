"""Dropout again, one point at a time: which rows stay."""

from __future__ import annotations

import math

import numpy as np


def slow_point_dropout(points: np.ndarray, max_share: float, rng: np.random.Generator) -> list[int]:
    dropped = _dropped(len(points), max_share, rng)
    return [row for row in range(len(points)) if row not in dropped]


def slow_beam_dropout(points: np.ndarray, max_share: float, spacing: float, rng: np.random.Generator) -> list[int]:
    steps = []
    for x, y, z in points[:, :3].tolist():
        steps.append(math.floor(math.degrees(math.atan2(z, math.sqrt(x * x + y * y))) / spacing))
    beams = sorted(set(steps))
    dropped = _dropped(len(beams), max_share, rng)
    gone = {beam for place, beam in enumerate(beams) if place in dropped}
    return [row for row, step in enumerate(steps) if step not in gone]


def slow_range_dropout(points: np.ndarray, nearest: float, farthest: float, rng: np.random.Generator) -> list[int]:
    limit = rng.uniform(nearest, farthest)
    near = [row for row, xyz in enumerate(points[:, :3].tolist()) if math.dist(xyz, (0, 0, 0)) <= limit]
    return near or list(range(len(points)))


def _dropped(count: int, max_share: float, rng: np.random.Generator) -> set[int]:
    number = int(rng.uniform(0, max_share) * count)
    return set(rng.choice(count, number, replace=False, shuffle=False).tolist())
