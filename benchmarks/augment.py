"""Cost of each augmentation: milliseconds of a scan of some 120,000 points, median of n.

The first two sequences of a folder in the SemanticKITTI layout give a scan each; without one, two scans of streets are
made. The second table is of whole samples, read from disk and voxelised:
a mixed one reads two scans. Meant for one idle core: OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from clusterseg.data.augment import (
    BeamDropout,
    InstanceBank,
    InstanceCutMix,
    LabelledScan,
    LaserMix,
    Mix,
    Mix3D,
    OneOf,
    PointDropout,
    PolarMix,
    RandomJitter,
    RandomTranslation,
    RangeDropout,
)
from clusterseg.data.augment.classes import THINGS
from clusterseg.data.dataset import ScanDataset
from clusterseg.data.label_map import load_label_map
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.data.transforms import RandomFlip, RandomRotation, RandomScale, Transform
from clusterseg.synthetic import Recipe, write_streets

LABEL_MAP = load_label_map("semantickitti")
NAMES = LABEL_MAP.class_names
DEFAULT = (RandomRotation(), RandomScale())


def transforms() -> dict[str, Transform]:
    return {
        "rotation": RandomRotation(),
        "scale": RandomScale(),
        "flip": RandomFlip(),
        "jitter": RandomJitter(),
        "translation": RandomTranslation(),
    }


def mixes(bank: InstanceBank) -> dict[str, Mix]:
    found = {
        "point_dropout": PointDropout(),
        "beam_dropout": BeamDropout(),
        "range_dropout": RangeDropout(),
        "lasermix": LaserMix(),
        "polarmix": PolarMix(swap=1.0),
        "laser_polarmix": OneOf([LaserMix(), PolarMix()]),
        "mix3d": Mix3D(),
        "cutmix": InstanceCutMix(bank, classes=THINGS),
        "cutmix_occlude": InstanceCutMix(bank, classes=THINGS, occlude=True),
    }
    return {name: mix.bound(NAMES) for name, mix in found.items()}


def median_ms(call: Callable[[np.random.Generator], object], n: int) -> float:
    """Median of n calls after two to warm up, each with a generator of its own."""
    times = []
    for seed in range(-2, n):
        rng = np.random.default_rng(abs(seed))
        start = time.perf_counter()
        call(rng)
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times[2:]))


def chosen(reader: SemanticKittiReader) -> list[str]:
    """The first scan of each of the first two sequences."""
    first: dict[str, str] = {}
    for scan_id in reader.scans("all"):
        first.setdefault(scan_id.split("/")[0], scan_id)
    return list(first.values())[:2]


def dataset(reader: SemanticKittiReader, *mixes: Mix) -> ScanDataset:
    """The two scans as a loader's worker has them."""
    found = ScanDataset(reader, "all", LABEL_MAP, max_voxels=80_000, transforms=DEFAULT, mixes=mixes)
    found.scan_ids = chosen(reader)
    return found


def measure(reader: SemanticKittiReader, n: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each augmentation alone, and of a whole sample with it."""
    plain = dataset(reader)
    scans: list[LabelledScan] = [plain.labelled(index) for index in range(2)]
    bank = InstanceBank.build(scans, NAMES)
    scan, other = scans
    alone = {name: median_ms(lambda rng, t=t: t(scan.points, rng), n) for name, t in transforms().items()}
    whole = {"rotation + scale": median_samples_ms(plain, n)}
    for name, mix in mixes(bank).items():
        alone[name] = median_ms(lambda rng, m=mix: m(scan, other, rng), n)
        whole[name] = median_samples_ms(dataset(reader, mix), n)
    return {"alone": alone, "whole sample": whole}


def median_samples_ms(samples: ScanDataset, n: int) -> float:
    """Median of n samples of the first scan, mixed with the second, each of another epoch."""
    return median_ms(lambda rng: samples[(int(rng.integers(1 << 30)), 0, 1)], n)


def print_tables(found: dict[str, dict[str, float]], points: list[int]) -> None:
    plain = found["whole sample"]["rotation + scale"]
    for title, rows in found.items():
        table = Table(title, "ms", "x a plain sample", title=f"Scans of {points[0]:,} and {points[1]:,} points")
        for name, value in rows.items():
            table.add_row(name, f"{value:.2f}", f"{value / plain:.2f}")
        Console().print(table)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks augment", description=__doc__)
    parser.add_argument("--data", type=Path, help="real scans: a folder that holds sequences")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, help="a JSON file")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        root = given.data
        if root is None:
            root = write_streets(Path(folder) / "streets", Recipe.of(scans="1", seed="1", sequences="0,1", period=5.0))
        reader = SemanticKittiReader(root)
        if len(chosen(reader)) < 2:
            sys.exit(f"--data {root}: holds fewer than two sequences with scans")
        found = measure(reader, given.rounds)
        print_tables(found, [len(reader.read(scan_id).points) for scan_id in chosen(reader)])
    if given.out:
        given.out.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
