"""Streets beside real scans: one table, a bird's-eye picture and a range image.

Without a folder of real scans the table shows streets alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.options import ROOT
from clusterseg.synthetic import Recipe, write_streets
from clusterseg.synthetic.labels import CLASS_OF, CLASSES
from clusterseg.synthetic.lidar import Lidar
from clusterseg.synthetic.measure import look, take_scan
from clusterseg.synthetic.town import build_town

VOXEL = 0.05
RANGES = (0, 5, 10, 15, 20, 30, 50, 80)
HEIGHTS = (-20, -2.2, -1.8, -1.5, -1, 0, 1, 20)
NAMES = ("unlabeled", *CLASSES)
COLOURS = np.array(
    [
        (60, 60, 60), (100, 150, 245), (100, 230, 245), (30, 60, 150), (80, 30, 180), (100, 80, 250), (255, 30, 30),
        (255, 40, 200), (150, 30, 90), (255, 0, 255), (255, 150, 255), (75, 0, 75), (175, 0, 75), (255, 200, 0),
        (255, 120, 50), (0, 175, 0), (135, 60, 0), (150, 240, 80), (255, 240, 150), (255, 0, 0),
    ]
) / 255.0  # fmt: skip


def class_index(raw: np.ndarray) -> np.ndarray:
    """Index (points,) in NAMES of each raw id; 0 for what the benchmark does not score."""
    table = np.zeros(2**16, int)
    for value, name in CLASS_OF.items():
        table[int(value)] = NAMES.index(name)
    return table[raw]


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Points (points, 4) and raw ids (points,) of the scan of a `.bin` file."""
    labels = path.parent.parent / "labels" / f"{path.stem}.label"
    return np.fromfile(path, "<f4").reshape(-1, 4), np.fromfile(labels, "<u4") & 0xFFFF


def voxel_neighbours(xyz: np.ndarray) -> tuple[int, float]:
    """Number of occupied voxels, and how many of the 27 around one (itself included) are occupied on average."""
    cells = np.round(xyz / VOXEL).astype(np.int64)
    cells -= cells.min(0) - 1
    size = cells.max(0) + 2
    keys = np.unique((cells[:, 0] * size[1] + cells[:, 1]) * size[2] + cells[:, 2])
    total = 0
    for shift in np.ndindex(3, 3, 3):
        dx, dy, dz = (s - 1 for s in shift)
        total += np.isin(keys + (dx * size[1] + dy) * size[2] + dz, keys, assume_unique=True).sum()
    return len(keys), float(total / len(keys))


def statistics(scans: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """The rows of the table: means over scans, shares of points in percent."""
    rows: dict[str, list[float]] = {}
    for points, raw in scans:
        distance = np.linalg.norm(points[:, :3], axis=1)
        voxels, neighbours = voxel_neighbours(points[:, :3])
        row = {"points": len(points), "voxels (5 cm)": voxels, "neighbours of 27": neighbours}
        for name, values, edges in (("range", distance, RANGES), ("height", points[:, 2], HEIGHTS)):
            for share, low, high in zip(np.histogram(values, edges)[0], edges, edges[1:], strict=False):
                row[f"{name} {low}..{high} m, %"] = 100 * share / len(points)
        for q in (5, 25, 50, 75, 95):
            row[f"remission, {q}th percentile"] = float(np.percentile(points[:, 3], q))
        counts = np.bincount(class_index(raw), minlength=len(NAMES))
        row |= {f"points of {name}": count for name, count in zip(NAMES, counts, strict=True)}
        for key, value in row.items():
            rows.setdefault(key, []).append(float(value))
    return {key: float(np.mean(values)) for key, values in rows.items()}


def print_table(columns: dict[str, dict[str, float]]) -> None:
    table = Table("mean over scans", *columns, title="Streets and real scans")
    for key in next(iter(columns.values())):
        values = [column[key] for column in columns.values()]
        table.add_row(key, *(f"{v:,.0f}" if abs(v) >= 100 else f"{v:.2f}" for v in values))
    Console().print(table)


def birds_eye(sets: dict[str, list[tuple[np.ndarray, np.ndarray]]], path: Path, reach: float = 45.0) -> None:
    """One column for each data set, four scans each, coloured by class."""
    picks = {name: [scans[i] for i in np.linspace(0, len(scans) - 1, 4).astype(int)] for name, scans in sets.items()}
    figure, axes = plt.subplots(len(picks), 4, figsize=(24, 6 * len(picks)), squeeze=False, facecolor="black")
    for row, (name, scans) in zip(axes, picks.items(), strict=True):
        for axis, (points, raw) in zip(row, scans, strict=True):
            order = np.argsort(points[:, 2])
            axis.scatter(*points[order, :2].T, c=COLOURS[class_index(raw)[order]], s=0.4, linewidths=0)
            axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", facecolor="black")
            axis.set_title(name, color="white")
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=60)
    plt.close(figure)


def range_image(points: np.ndarray, raw: np.ndarray, rows: int = 64, columns: int = 1000) -> np.ndarray:
    """Class colours (2 rows, columns, 3) over range as brightness, from a scan of any origin."""
    distance = np.linalg.norm(points[:, :3], axis=1)
    elevation = np.degrees(np.arcsin(points[:, 2] / distance))
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    row = np.clip(((2.5 - elevation) / 27.5 * rows).astype(int), 0, rows - 1)
    column = np.clip(((np.pi - azimuth) / (2 * np.pi) * columns).astype(int), 0, columns - 1)
    image = np.zeros((2 * rows, columns, 3))
    image[row, column] = COLOURS[class_index(raw)]
    image[rows + row, column] = (1 - np.clip(np.log(distance / 2) / np.log(40), 0, 1))[:, None]
    return image


def range_pictures(sets: dict[str, list[tuple[np.ndarray, np.ndarray]]], path: Path) -> None:
    picks = [(name, scans[i]) for name, scans in sets.items() for i in (0, len(scans) // 2)]
    figure, axes = plt.subplots(len(picks), 1, figsize=(20, 4.2 * len(picks)), squeeze=False)
    for axis, (name, scan) in zip(axes[:, 0], picks, strict=True):
        axis.imshow(range_image(*scan), aspect=1.3, interpolation="nearest")
        axis.set_title(name)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def print_timing(sequences: tuple[int, ...]) -> None:
    """Processor time of one full-resolution scan, and of casting alone."""
    lidar, whole, casting = Lidar(), [], []
    _ = lidar.directions
    for sequence in sequences:
        town = build_town(1, sequence, 20.0)
        for moment in (2.0, 9.0, 16.0):
            start = time.process_time()
            take_scan(town, lidar, moment, np.random.default_rng(0))
            whole.append(time.process_time() - start)
            start = time.process_time()
            look(town, lidar, moment, np.random.default_rng(0))
            casting.append(time.process_time() - start)
    for name, values in (("whole scan", whole), ("casting alone", casting)):
        print(
            f"{name}: median {np.median(values):.2f} s, largest {max(values):.2f} s of one core ({len(values)} scans)"
        )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks synthetic", description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="real scans in the SemanticKITTI layout: a folder that holds sequences"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "benchmarks", help="folder of the pictures")
    parser.add_argument("--scans", default="3", help="in each sequence")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--sequences", default="0,1,2,3,4,5,6,8")
    given = parser.parse_args(arguments)
    out = given.out
    out.mkdir(parents=True, exist_ok=True)
    recipe = Recipe.of(scans=given.scans, seed=given.seed, sequences=given.sequences, period=5.0)
    with tempfile.TemporaryDirectory() as folder:
        root = write_streets(Path(folder) / "streets", recipe)
        sets = {"streets": [read(p) for p in sorted(root.glob("sequences/*/velodyne/*.bin"))]}
    if given.data:
        sets["real"] = [read(p) for p in sorted(given.data.glob("sequences/*/velodyne/*.bin"))]
        if not sets["real"]:
            sys.exit(f"--data {given.data}: holds no sequences/*/velodyne/*.bin")
    print_table({name: statistics(scans) for name, scans in sets.items()})
    birds_eye(sets, out / "birds_eye.png")
    range_pictures(sets, out / "range_image.png")
    print_timing(recipe.sequences[:3])
    print(f"pictures: {out / 'birds_eye.png'}, {out / 'range_image.png'}")


if __name__ == "__main__":
    main(sys.argv[1:])
