"""The SemanticKITTI layout on disk: files of a sequence, written so that each is whole or absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from jaxtyping import Float

from clusterseg.files import temporary_name
from clusterseg.synthetic.measure import Scan

# velodyne -> camera 0 (x right, y down, z forward): axes exchanged, the camera a little ahead of and below the lidar
VELO_TO_CAMERA = np.array([[0, -1, 0, 0], [0, 0, -1, -0.08], [1, 0, 0, -0.27], [0, 0, 0, 1]], float)
_CAMERA = np.array([[700, 0, 600, 0], [0, 700, 180, 0], [0, 0, 1, 0]], float)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under another name and rename it, so that readers see all of it or nothing."""
    part = path.with_name(temporary_name(path.name))
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_scan(sequence_dir: Path, index: int, scan: Scan) -> None:
    """`labels/NNNNNN.label`, then `velodyne/NNNNNN.bin`: the second one says that both are there."""
    labels, points = scan_paths(sequence_dir, index)
    write_atomically(labels, scan.labels.astype("<u4").tobytes())
    write_atomically(points, scan.points.astype("<f4").tobytes())


def scan_paths(sequence_dir: Path, index: int) -> tuple[Path, Path]:
    """The label file and the point file of a scan."""
    return sequence_dir / f"labels/{index:06d}.label", sequence_dir / f"velodyne/{index:06d}.bin"


def scan_is_whole(sequence_dir: Path, index: int) -> bool:
    """Whether both files of a scan exist and agree on the number of points."""
    labels, points = scan_paths(sequence_dir, index)
    try:
        size = points.stat().st_size
        return size > 0 and size % 16 == 0 and labels.stat().st_size * 4 == size
    except OSError:
        return False


def write_calib(sequence_dir: Path) -> None:
    """`calib.txt`: four equal cameras P0..P3 and `Tr`, the way from the lidar to camera 0."""
    rows = [(f"P{k}", _CAMERA) for k in range(4)] + [("Tr", VELO_TO_CAMERA[:3])]
    text = "".join(f"{name}: {_numbers(matrix)}\n" for name, matrix in rows)
    write_atomically(sequence_dir / "calib.txt", text.encode())


def write_poses(sequence_dir: Path, poses: Float[np.ndarray, "scans 4 4"]) -> None:
    """`poses.txt`: 12 numbers a line, camera 0 relative to where it was in the first scan.

    Args:
        sequence_dir: Folder of the sequence.
        poses: Lidar to world, in metres.
    """
    to_camera, to_lidar = VELO_TO_CAMERA, np.linalg.inv(VELO_TO_CAMERA)
    relative = to_camera @ np.linalg.inv(poses[0]) @ poses @ to_lidar
    write_atomically(sequence_dir / "poses.txt", "".join(f"{_numbers(p[:3])}\n" for p in relative).encode())


def write_times(sequence_dir: Path, times: Float[np.ndarray, " scans"]) -> None:
    """`times.txt`: seconds since the first scan, one a line."""
    write_atomically(sequence_dir / "times.txt", "".join(f"{t:.6e}\n" for t in times).encode())


def _numbers(matrix: np.ndarray) -> str:
    return " ".join(f"{v:.9e}" for v in matrix.ravel())
