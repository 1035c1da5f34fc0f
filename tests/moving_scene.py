"""A made sequence in the KITTI layout: standing walls, a car that drives, a lidar on a known path."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WALLS, CAR = 600, 150
STANDING, MOVING = 50, 252
#: A lidar-to-camera matrix that is no mere exchange of axes.
TR = np.array([[0.02, -1, 0.01, -0.01], [0.01, -0.01, -1, -0.08], [1, 0.02, 0.01, -0.27], [0, 0, 0, 1]])
TR[:3, :3] = np.linalg.svd(TR[:3, :3])[0] @ np.linalg.svd(TR[:3, :3])[2]
SPEED = 8.0  # metres per second along x


def pose(seconds: float) -> np.ndarray:
    """The lidar in the world: it drives a bend, climbs, and starts neither at the origin nor level."""
    turn, pitch = 0.3 + 0.2 * seconds, 0.02 * seconds
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y
    matrix[:3, 3] = 40 + 5 * seconds, -25 + 2 * seconds, 1.7 + 0.1 * seconds
    return matrix


def world(seconds: float, seed: int = 0) -> np.ndarray:
    """(WALLS + CAR, 3): the same points in the same order at any time; only the car has moved."""
    rng = np.random.default_rng(seed)
    walls = rng.uniform((20, -45, 0), (60, -5, 4), (WALLS, 3))
    car = rng.uniform((42, -20, 0), (46, -18, 1.5), (CAR, 3))
    car[:, 0] += SPEED * seconds
    return np.concatenate([walls, car])


def write_sequence(root: Path, name: str, scans: int, every: int = 1, seed: int = 0) -> Path:
    """Write a sequence: frames 0, every, 2 * every, ... have a scan, all frames have a pose and a time."""
    folder = root / name
    for kind in ("velodyne", "labels"):
        (folder / kind).mkdir(parents=True)
    frames = (scans - 1) * every + 1
    times = 0.1 * np.arange(frames)
    labels = np.repeat([STANDING, MOVING | 3 << 16], [WALLS, CAR]).astype("<u4")
    for frame in range(0, frames, every):
        homogeneous = np.c_[world(times[frame], seed), np.ones(WALLS + CAR)]
        xyz = (np.linalg.inv(pose(times[frame])) @ homogeneous.T).T[:, :3]
        remission = np.random.default_rng(seed + frame).random(len(xyz))
        np.c_[xyz, remission].astype("<f4").tofile(folder / "velodyne" / f"{frame:06d}.bin")
        labels.tofile(folder / "labels" / f"{frame:06d}.label")
    start = np.linalg.inv(pose(0.0))
    cameras = [TR @ start @ pose(t) @ np.linalg.inv(TR) for t in times]
    write_rows(folder / "poses.txt", [row_of(matrix) for matrix in cameras])
    write_rows(folder / "calib.txt", [f"P0: {row_of(np.eye(4))}", f"Tr: {row_of(TR)}"])
    write_rows(folder / "times.txt", [f"{t:.6e}" for t in times])
    return folder


def row_of(matrix: np.ndarray) -> str:
    return " ".join(f"{value:.9e}" for value in matrix[:3].ravel())


def write_rows(path: Path, rows: list[str]) -> None:
    path.write_text("".join(f"{row}\n" for row in rows))
