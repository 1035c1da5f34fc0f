"""Shared by the tests of the data set on disk."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np

from clusterseg.synthetic import Recipe

SMALL = Recipe(scans=3, seed=5, sequences=(0, 8), beams=16, azimuths=300, period=4.0)


def digest(root: Path) -> dict[str, str]:
    """Hash of every file below `root/sequences` and of the recipe file."""
    files = [root / "streets.json", *sorted((root / "sequences").rglob("*"))]
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}


def read_scan(sequence: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (points, 4) and labels (points,)."""
    points = np.fromfile(sequence / f"velodyne/{index:06d}.bin", "<f4").reshape(-1, 4)
    return points, np.fromfile(sequence / f"labels/{index:06d}.label", "<u4")


def command(out: Path, recipe: Recipe, *more: str, before: str = "") -> list[str]:
    """The command line of a recipe, optionally with Python code that runs before it."""
    sequences = ",".join(map(str, recipe.sequences))
    settings = [f"{k}={getattr(recipe, k)}" for k in ("scans", "seed", "beams", "azimuths", "period")]
    arguments = [f"out={out}", f"sequences=[{sequences}]", *settings, *more]
    code = f"{before}\nfrom clusterseg.commands.front_door import run\nrun('streets', {arguments!r})"
    return [sys.executable, "-W", "error", "-c", code]


def run(out: Path, recipe: Recipe, *more: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(command(out, recipe, *more, before=before), capture_output=True, text=True, timeout=300)
