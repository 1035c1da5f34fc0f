"""Made-up labelled scans, and real ones; every point carries its row as a fifth channel, so that it can be traced."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.label_map import IGNORE_INDEX, load_label_map
from clusterseg.data.scan import read_labels, read_scan

Pair = tuple[LabelledScan, LabelledScan]
LABEL_MAP = load_label_map("semantickitti")
NAMES = LABEL_MAP.class_names
OTHER = 1_000_000  # the first row of the second scan of a pair
HEIGHT = 1.7  # of the sensor above the ground, metres


def made_scan(seed: int = 0, first_row: int = 0) -> LabelledScan:
    """A plain with a road through it, a wall, a tree with a crown over the plain, and eight things."""
    rng = np.random.default_rng(seed)
    parts = [_plain(rng), _wall(rng), _crown(rng)]
    for number, (name, size) in enumerate([("car", (4, 2, 1.5)), ("person", (0.5, 0.5, 1.7))] * 4, start=1):
        parts.append(_thing(name, size, number, rng))
    xyz, targets, instances = (np.concatenate(values) for values in zip(*parts, strict=True))
    targets[rng.random(len(targets)) < 0.02] = IGNORE_INDEX
    return _traced(np.c_[xyz, rng.random(len(xyz))], targets, instances, first_row)


def real_scan(shared: Path, sequence: str, frame: int = 0, first_row: int = 0) -> LabelledScan:
    folder = shared / "data" / "semantickitti_mini" / "sequences" / sequence
    points = read_scan(folder / "velodyne" / f"{frame:06d}.bin")
    raw = read_labels(folder / "labels" / f"{frame:06d}.label", len(points))
    return _traced(points, LABEL_MAP.to_train(raw), raw >> 16, first_row)


def untouched(scan: LabelledScan) -> LabelledScan:
    """A copy, to compare with afterwards."""
    return LabelledScan(scan.points.copy(), scan.targets.copy(), scan.instances.copy())


def assert_same(first: LabelledScan, second: LabelledScan) -> None:
    for name in ("points", "targets", "instances"):
        got, expected = getattr(first, name), getattr(second, name)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def rows_of(scan: LabelledScan) -> np.ndarray:
    """The row that each point carries."""
    return scan.points[:, 4].astype(np.int64)


def _traced(points: np.ndarray, targets: np.ndarray, instances: np.ndarray, first_row: int) -> LabelledScan:
    rows = first_row + np.arange(len(points))
    assert rows[-1] < 2**24  # float32 still tells them apart
    return LabelledScan(np.c_[points, rows].astype(np.float32), targets.astype(np.int64), instances.astype(np.int64))


def _part(xyz: np.ndarray, name: str, number: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return xyz, np.full(len(xyz), NAMES.index(name)), np.full(len(xyz), number)


def _plain(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    inclination = np.radians(np.linspace(-24, -3, 24))[:, None]
    azimuth = np.linspace(0, 2 * np.pi, 150, endpoint=False) + rng.uniform(0, 0.02)
    distance = HEIGHT / -np.tan(inclination) + rng.normal(0, 0.02, (24, 150))
    x, y = distance * np.cos(azimuth), distance * np.sin(azimuth)
    xyz = np.stack([x, y, 0.02 * x - HEIGHT + rng.normal(0, 0.01, x.shape)], -1).reshape(-1, 3)
    targets = np.where(np.abs(xyz[:, 1]) < 4, NAMES.index("road"), NAMES.index("terrain"))
    return xyz, targets, np.zeros(len(xyz))


def _wall(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _part(np.c_[rng.uniform(-15, 15, 500), rng.normal(12, 0.05, 500), rng.uniform(-1.5, 3, 500)], "building")


def _crown(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _part(rng.normal((6, -8, 3.0), (2, 2, 0.3), (300, 3)), "vegetation")


def _thing(
    name: str, size: tuple[float, float, float], number: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    angle, distance = rng.uniform(-np.pi, np.pi), rng.uniform(6, 20)
    x, y = distance * np.cos(angle), distance * np.sin(angle)
    low = np.array([x, y, 0.02 * x - HEIGHT])
    return _part(low + rng.uniform(0, 1, (int(rng.integers(40, 80)), 3)) * size, name, number)
