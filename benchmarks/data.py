"""A sample as a loader's process makes it: read, augment, voxelise, cap. One core."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.evaluation import where
from benchmarks.measure import in_child, interleave, peak_memory_mb
from benchmarks.options import Options
from benchmarks.tables import Table
from clusterseg.data.dataset import ScanDataset
from clusterseg.data.label_map import load_label_map
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.data.transforms import RandomRotation, RandomScale
from clusterseg.synthetic import Recipe, write_streets


def run(options: Options) -> list[Table]:
    with tempfile.TemporaryDirectory() as folder:
        root = options.data or streets(Path(folder), options.quick)
        rows, points, note = in_child(measure, str(root), options.rounds, options.quick, threads=1)
        memory = in_child(peak, str(root), threads=1)
    kind = "real scan" if where(options)[0] else "street"
    table = Table(
        f"A sample of a {kind} of {points:,} points, one core",
        ["what", "median ms", "best ms", "peak MB", "target"],
        notes=[note, "Files lie in the page cache. Peak: of a process that made 20 samples as in training."],
    )
    for i, (name, median, best) in enumerate(rows):
        table.add(name, median, best, memory if i == 0 else None, "at most 5 ms" if i == 0 else "")
    return [table]


def streets(folder: Path, quick: bool) -> Path:
    recipe = Recipe.of(scans="1", seed="1", sequences="0,8", period="5.0", azimuths="100" if quick else "2000")
    return write_streets(folder / "streets", recipe, quiet=True)


def _dataset(root: str, augmented: bool, cap: int | None) -> ScanDataset:
    found = ScanDataset(
        SemanticKittiReader(root),
        "all",
        load_label_map("semantickitti"),
        max_voxels=cap,
        transforms=(RandomRotation(), RandomScale()) if augmented else (),
    )
    found.scan_ids = found.scan_ids[:1]
    return found


def _sampler(samples: ScanDataset) -> Callable[[], object]:
    """Each call makes the sample of another epoch."""
    epochs = iter(range(1 << 30))
    return lambda: samples[next(epochs), 0]


def measure(root: str, rounds: int, quick: bool) -> tuple[list[tuple[str, float, float]], int, str]:
    """Rows (what, median ms, best ms), points of the scan, and the note on the yardstick."""
    sets = {
        "read, rotate and scale, voxelise, cap at 80,000 voxels": _dataset(root, True, 80_000),
        "the same without augmentation": _dataset(root, False, 80_000),
        "evaluation: read, voxelise": _dataset(root, False, None),
    }
    calls = {name: _sampler(samples) for name, samples in sets.items()}
    reader = next(iter(sets.values()))
    calls["read points and labels only"] = lambda: reader.read(0)
    times = interleave(calls, 1 if quick else 6 * rounds, quick=quick)
    rows = [(name, 1e3 * times.median(name), 1e3 * times.best(name)) for name in calls]
    return rows, len(reader.read(0).points), times.note()


def peak(root: str) -> float:
    call = _sampler(_dataset(root, True, 80_000))
    for _ in range(20):
        call()
    return peak_memory_mb()
