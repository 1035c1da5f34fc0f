"""LaserMix and PolarMix again, one point at a time, with the angles themselves."""

from __future__ import annotations

import math

import numpy as np

from clusterseg.data.augment.labelled import LabelledScan

Row = tuple[float, ...]


def slow_lasermix(scan: LabelledScan, other: LabelledScan, count: int, low: float, high: float) -> list[Row]:
    """Rows (channels, target) of the mix of `count` strips of equal height between two angles in degrees."""
    mixed: list[Row] = []
    for source, parity in ((scan, 0), (other, 1)):
        for point, target in zip(source.points.tolist(), source.targets.tolist(), strict=True):
            inclination = math.degrees(math.atan2(point[2], math.sqrt(point[0] ** 2 + point[1] ** 2)))
            place = (high - inclination) / (high - low) * count
            strip = min(max(math.floor(place), 0), count - 1)
            if strip % 2 == parity:
                mixed.append((*point, target))
    return mixed


def slow_polarmix(
    scan: LabelledScan, other: LabelledScan, start: float | None, angles: list[float] | None, targets: set[int]
) -> list[Row]:
    """Rows of the mix: half a turn from `start` swapped, unless None; things of these targets at the angles."""
    mixed: list[Row] = []
    for point, target in zip(scan.points.tolist(), scan.targets.tolist(), strict=True):
        if start is None or not _within(point, start):
            mixed.append((*point, target))
    rows = list(zip(other.points.tolist(), other.targets.tolist(), strict=True))
    if start is not None:
        mixed += [(*point, target) for point, target in rows if _within(point, start)]
    for angle in angles or []:
        for point, target in rows:
            if target in targets:
                turned = complex(point[0], point[1]) * complex(math.cos(angle), math.sin(angle))
                mixed.append((turned.real, turned.imag, *point[2:], target))
    return mixed


def as_rows(scan: LabelledScan) -> np.ndarray:
    """A scan as rows (channels, target)."""
    return np.c_[scan.points.astype(np.float64), scan.targets]


def _within(point: list[float], start: float) -> bool:
    """Whether a point's azimuth lies within half a turn from the start."""
    return 0 < (math.atan2(point[1], point[0]) - start) % (2 * math.pi) < math.pi
