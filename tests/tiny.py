"""Tiny labelled scans in the SemanticKITTI layout: a road between walls and hedges, with cars."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

ROAD, BUILDING, VEGETATION, CAR, MOVING_CAR = 40, 50, 70, 10, 252


def scan(rng: np.random.Generator, points: int = 1200) -> tuple[np.ndarray, np.ndarray]:
    """Points (4 * points + 100, 4) float32 and raw labels uint32 with instance ids in the upper half."""
    road = np.c_[rng.uniform(-8, 8, points), rng.uniform(-3, 3, points), rng.normal(-1.7, 0.02, points)]
    wall = np.c_[rng.uniform(-8, 8, points), np.full(points, 4.0), rng.uniform(-1.7, 3, points)]
    hedge = np.c_[rng.uniform(-8, 8, points), rng.normal(-4, 0.3, points), rng.uniform(-1.7, 1, points)]
    car = np.array([rng.uniform(-6, 6), 1.0, -1.0]) + rng.uniform(-1, 1, (points, 3)) * [2.0, 0.8, 0.6]
    mover = np.array([0.0, -2.0, -1.0]) + rng.uniform(-1, 1, (100, 3)) * [2.0, 0.8, 0.6]
    xyz = np.concatenate([road, wall, hedge, car, mover])
    counts = [points] * 4 + [100]
    labels = np.repeat([ROAD, BUILDING, VEGETATION, CAR | 7 << 16, MOVING_CAR | 8 << 16], counts).astype(np.uint32)
    remission = np.repeat([0.2, 0.5, 0.3, 0.8, 0.8], counts)
    return np.c_[xyz, remission].astype(np.float32), labels


def write_dataset(root: Path, sequences: dict[str, int], seed: int = 0, points: int = 1200) -> Path:
    """Write scans: ``sequences`` maps a sequence's name to its number of scans; for `points` see `scan`."""
    rng = np.random.default_rng(seed)
    for name, count in sequences.items():
        for folder in ("velodyne", "labels"):
            (root / name / folder).mkdir(parents=True)
        for frame in range(count):
            cloud, labels = scan(rng, points)
            cloud.tofile(root / name / "velodyne" / f"{frame:06d}.bin")
            labels.tofile(root / name / "labels" / f"{frame:06d}.label")
    return root


def write_control(path: Path, width: int = 8) -> Path:
    """Write the control file of a network that trains in moments."""
    table: dict[str, object] = {"output_channels": [width] * 9}
    for stage in (f"{way}.{i}" for way in ("downsample", "upsample") for i in range(4)):
        layers = f"{stage}.feature.layers.0"
        table |= {f"{stage}.transition": width, f"{stage}.feature": 1, f"{layers}.downsample": width}
        table |= {f"{layers}.net.layers.0": width, f"{layers}.net.layers.1": width}
    table |= {f"point_transforms.{i}": width for i in range(3)}
    path.write_text(json.dumps(table))
    return path
