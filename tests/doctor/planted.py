"""A data set of 200 small scans of synthetic streets, and faults to plant into it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from clusterseg.data.label_map import load_label_map
from clusterseg.synthetic import Recipe, write_streets

COUNTS = {"00": 150, "08": 50}
RECIPE = Recipe(scans=2, seed=5, sequences=(0, 8), beams=16, azimuths=50, period=4.0)
MERGED = {
    "vehicle": ("car", "bicycle", "motorcycle", "truck", "other-vehicle", "person", "bicyclist", "motorcyclist"),
    "ground": ("road", "parking", "sidewalk", "other-ground", "terrain"),
    "upright": ("building", "fence", "vegetation", "trunk", "pole", "traffic-sign"),
}


def label_map() -> dict[str, object]:
    """The classes of SemanticKITTI merged to those of which so few small scans have many points."""
    table = load_label_map("semantickitti").table
    ids = {name: [entry["id"], *entry["also"]] for name, entry in table["classes"].items()}
    merged = {name: [raw for part in parts for raw in ids[part]] for name, parts in MERGED.items()}
    classes = {name: {"id": first, "also": others} for name, (first, *others) in merged.items()}
    return {"name": "merged", "ignored": table["ignored"], "classes": classes}


def write_turned(folder: Path) -> Path:
    """Write the data set: each scan is one of four of the streets, turned about the sensor."""
    streets = write_streets(folder / "streets", RECIPE, quiet=True) / "sequences"
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        for part in ("velodyne", "labels"):
            (folder / "data" / name / part).mkdir(parents=True)
        for frame in range(count):
            points = np.fromfile(streets / name / f"velodyne/{frame % 2:06d}.bin", "<f4").reshape(-1, 4)
            angle = rng.uniform(-math.pi, math.pi)
            turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
            points[:, :2] = points[:, :2] @ turn.T
            points.tofile(folder / "data" / name / f"velodyne/{frame:06d}.bin")
            labels = (streets / name / f"labels/{frame % 2:06d}.label").read_bytes()
            (folder / "data" / name / f"labels/{frame:06d}.label").write_bytes(labels)
    return folder / "data"


def bin_of(root: Path, frame: int, sequence: str = "00") -> Path:
    return root / sequence / f"velodyne/{frame:06d}.bin"


def label_of(root: Path, frame: int, sequence: str = "00") -> Path:
    return root / sequence / f"labels/{frame:06d}.label"


def edit(path: Path, rows: slice, columns: slice, values: object) -> None:
    """Set some numbers of a scan."""
    points = np.fromfile(path, "<f4").reshape(-1, 4)
    points[rows, columns] = values
    points.tofile(path)


def plant(root: Path) -> dict[str, set[tuple[str, str, tuple[str, ...]]]]:
    """Plant faults of many kinds; returns severity, check and files by the name of each fault."""
    b, w = bin_of, label_of
    every = slice(None)
    found: dict[str, set[tuple[str, str, tuple[str, ...]]]] = {}

    b(root, 10).write_bytes(b(root, 10).read_bytes()[:-7])
    found["cut short"] = {("fault", "unreadable", (str(b(root, 10)),))}
    b(root, 12).write_bytes(b"")
    found["empty"] = {("fault", "unreadable", (str(b(root, 12)),))}
    w(root, 14).write_bytes(w(root, 14).read_bytes()[:-8])
    found["labels of another version"] = {("fault", "unreadable", (str(b(root, 14)),))}
    w(root, 16).unlink()
    found["no labels"] = {("fault", "no labels", (str(b(root, 16)),))}
    labels = np.fromfile(w(root, 18), "<u4")
    labels[:5] = [250, 250, 251, 250, 250]
    labels.tofile(w(root, 18))
    found["unknown ids"] = {("fault", "unknown label", (str(b(root, 18)),))}
    np.zeros_like(np.fromfile(w(root, 20), "<u4")).tofile(w(root, 20))
    found["unlabelled"] = {("warning", "nothing labelled", (str(b(root, 20)),))}
    edit(b(root, 22), slice(0, 30), slice(0, 1), np.nan)
    edit(b(root, 23), slice(0, 2), slice(2, 3), np.inf)
    found["NaN"] = {("warning", "not finite", (str(b(root, 22)), str(b(root, 23))))}
    edit(b(root, 24), every, slice(0, 3), np.nan)
    found["all NaN"] = {("fault", "not finite", (str(b(root, 24)),))}
    edit(b(root, 26), slice(0, 4), slice(3, 4), np.nan)
    found["NaN remission"] = {("warning", "not finite values", (str(b(root, 26)),))}
    edit(b(root, 28), slice(0, 200), slice(0, 3), 0.0)
    found["no return"] = {("warning", "no return", (str(b(root, 28)),))}
    edit(b(root, 30), slice(0, 1), slice(0, 1), 9000.0)
    found["stray point"] = {("fault", "extent", (str(b(root, 30)),))}
    bright = np.fromfile(b(root, 32), "<f4").reshape(-1, 4)[:, 3:] * 255
    edit(b(root, 32), every, slice(3, 4), bright)
    found["8 bits"] = {("fault", "remission", (str(b(root, 32)),))}
    b(root, 35).write_bytes(b(root, 33).read_bytes())
    found["copy"] = {("warning", "duplicate", (str(b(root, 33)), str(b(root, 35))))}
    b(root, 5, "08").write_bytes(b(root, 36).read_bytes())
    w(root, 5, "08").write_bytes(w(root, 36).read_bytes())
    found["leak"] = {("fault", "leak", (str(b(root, 36)), str(b(root, 5, "08"))))}
    for frame in (40, 41, 42):
        b(root, frame).unlink()
        w(root, frame).unlink()
    found["gap"] = {("warning", "gap", ("00/39..43",))}
    small = np.fromfile(b(root, 44), "<f4")[:200]
    small.tofile(b(root, 44))
    np.fromfile(w(root, 44), "<u4")[:50].tofile(w(root, 44))
    found["a part of a turn"] = {("warning", "few points", (str(b(root, 44)),))}
    for path in sorted((root / "08/labels").iterdir()):
        labels = np.fromfile(path, "<u4")
        labels[np.isin(labels & 0xFFFF, np.array(label_map()["classes"]["vehicle"]["also"] + [10]))] = 0
        labels.tofile(path)
    found["class lacking"] = {("warning", "class lacking", ())}
    return found
