"""Made data sets in the layouts of RELLIS-3D, KITTI-360, SemanticPOSS and Waymo: tiny, with ids drawn at random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from made_sets import cloud, write

OS1 = ("os1_cloud_node_kitti_bin", "os1_cloud_node_semantickitti_label_id")
VELODYNE = ("vel_cloud_node_kitti_bin", "vel_cloud_node_semantickitti_label_id")
DRIVE = "2013_05_28_drive_{:04d}_sync"


def write_rellis3d(root: Path, ids: Sequence[int]) -> None:
    """Two sequences of three scans of both sensors, of which every third row of the OS1 is without a return."""
    lines: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for sequence in (0, 3):
        for frame, split in enumerate(lines):
            for (points, labels), highest in ((OS1, 0.0115), (VELODYNE, 255)):
                seed = 10 * sequence + frame
                made, raw = cloud(seed, 60), np.random.default_rng(seed).choice(ids, 60)
                made[:, 3] *= highest
                if highest < 1:
                    made[::3], raw[::3] = 0, 0
                stem = f"0000{sequence}/{{}}/frame{frame:06d}-158_{sequence}"
                write(root / f"{stem.format(points)}.bin", made)
                write(root / f"{stem.format(labels)}.label", raw.astype("<u4"))
            lines[split].append(f"{stem.format(OS1[0])}.bin {stem.format(OS1[1])}.label")
    for split, named in lines.items():
        (root / f"pt_{split}.lst").write_text("\n".join(named) + "\n\n")


def write_kitti360(root: Path) -> None:
    """Drives 0 (frames 1 to 6; none labelled at 1) and 2 (frames 1 and 2), with windows that overlap."""
    for drive, frames in ((0, range(1, 7)), (2, range(1, 3))):
        name = DRIVE.format(drive)
        for frame in frames:
            points = cloud(frame, 40 + frame)
            write(root / f"data_3d_raw/{name}/velodyne_points/data/{frame:010d}.bin", points)
            ids = np.random.default_rng(frame).integers(-1, 45, len(points)).astype("<i2")
            if (drive, frame) != (0, 1):
                write(root / f"data_3d_labels/{name}/labels/{frame:010d}.bin", ids)
    (root / "data_3d_semantics/train").mkdir(parents=True)
    for split, windows in {"train": [(0, 1, 4), (2, 1, 2)], "val": [(0, 4, 5)]}.items():
        lines = [f"data_3d_semantics/train/{DRIVE.format(d)}/static/{a:010d}_{b:010d}.ply" for d, a, b in windows]
        (root / f"data_3d_semantics/train/2013_05_28_drive_{split}.txt").write_text("\n".join(lines) + "\n")


def write_sequences(root: Path, names: Sequence[str], ids: Sequence[int], highest: float, width: int = 6) -> None:
    """Two scans of some 50 points in each sequence; the fourth column reaches up to `highest`."""
    for number, name in enumerate(names):
        for frame in range(2):
            points = cloud(10 * number + frame, 50 + frame)
            points[:, 3] *= highest
            raw = np.random.default_rng(number).choice(ids, len(points)) | (frame + 1) << 16
            write(root / name / "velodyne" / f"{frame:0{width}d}.bin", points)
            write(root / name / "labels" / f"{frame:0{width}d}.label", raw.astype("<u4"))
