"""Dropout again, one point at a time: which rows stay."""

from __future__ import annotations

import math

import numpy as np


def slow_point_dropout(points: np.ndarray, max_share: float, rng: np.random.Generator) -> list[int]:
    dropped = _dropped(len(points), max_share, rng)
    return [row for row in range(len(points)) if row not in dropped]


def slow_beam_dropout(points: np.ndarray, max_share: float, spacing: float, rng: np.random.Generator) -> list[int]:
    beam_of = slow_beams(points, spacing)
    beams = sorted(set(beam_of))
    dropped = _dropped(len(beams), max_share, rng)
    gone = {beam for place, beam in enumerate(beams) if place in dropped}
    return [row for row, beam in enumerate(beam_of) if beam not in gone]


def slow_beams(points: np.ndarray, spacing: float) -> list[int]:
    """By turns of the azimuth, counted from a little before the x axis; else by steps of inclination."""
    turns, steps, last = [0], [], 0.0
    for x, y, z in points[:, :3].tolist():
        angle = math.atan2(y, x)
        angle = angle if angle >= -0.01 else angle + 2 * math.pi
        turns.append(turns[-1] + (last - angle > math.pi))
        last = angle
        steps.append(math.floor(math.degrees(math.atan2(z, math.sqrt(x * x + y * y))) / spacing))
    return turns[1:] if 8 <= turns[-1] + 1 <= 256 else steps


def slow_range_dropout(points: np.ndarray, nearest: float, farthest: float, rng: np.random.Generator) -> list[int]:
    limit = rng.uniform(nearest, farthest)
    near = [row for row, xyz in enumerate(points[:, :3].tolist()) if math.dist(xyz, (0, 0, 0)) <= limit]
    return near or list(range(len(points)))


def _dropped(count: int, max_share: float, rng: np.random.Generator) -> set[int]:
    number = int(rng.uniform(0, max_share) * count)
    return set(rng.choice(count, number, replace=False, shuffle=False).tolist())
