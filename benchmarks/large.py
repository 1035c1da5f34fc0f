"""Prediction of a cloud of five million points: memory and time, whole and in blocks; what blocks change."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.evaluation import where
from benchmarks.measure import in_child, peak_memory_mb
from benchmarks.options import Options
from benchmarks.scans import scan
from benchmarks.steps import LARGE, SMALL, network
from benchmarks.tables import Table
from clusterseg.data.batch import Batch, collate
from clusterseg.data.sample import build_sample
from clusterseg.predict.blocks import Blocks
from clusterseg.predict.cloud_data import CloudDataset
from clusterseg.predict.voter import Voter

POINTS = 5_000_000
LIMIT = 300_000
VOXEL = 0.05
#: Metres of overlap whose agreement with the whole cloud is counted, on a cloud that fits.
OVERLAPS = (0.0, 1.0, 2.0, 5.0, 10.0)


def run(options: Options) -> list[Table]:
    points, limit = (30_000, 5_000) if options.quick else (POINTS, LIMIT)
    table = Table(
        f"Prediction of one cloud of {points:,} points",
        ["network, way", "voxels", "s", "peak MB", "target"],
        notes=[
            "Copies of a scan in a square, each point moved by up to a metre so that most have a voxel of their own. "
            f"Blocks of at most {limit:,} voxels, overlap 5 m; read, voxelise, predict, in a process of its own."
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.npy"
        write_cloud(options, points, file)
        for control in (SMALL, LARGE):
            for limit_or_none in (limit, None):
                if limit_or_none is None and control == LARGE:
                    continue  # more than most machines have
                found = in_child("benchmarks.large:measure", control, str(file), limit_or_none, threads=options.threads)
                way = "whole" if limit_or_none is None else "in blocks"
                table.add(f"{control}, {way}", *found, "" if limit_or_none is None else "at most 2,147 MB")
    return [table, _agreement(options)]


def write_cloud(options: Options, points: int, file: Path) -> None:
    """Copies of the scan's voxels in a square of streets."""
    one = scan(*where(options)).feats.numpy()
    copies = -(-points // len(one))
    side, rng = int(np.ceil(np.sqrt(copies))), np.random.default_rng(0)
    cloud = np.tile(one, (copies, 1))[:points]
    tile = np.repeat(np.arange(copies), len(one))[:points]
    cloud[:, :2] += 60.0 * np.stack([tile % side, tile // side], 1)
    cloud[:, :3] += rng.uniform(-1, 1, (points, 3)) * [1.0, 1.0, 0.02]
    np.save(file, cloud.astype(np.float32))


def measure(control: str, file: str, limit: int | None) -> tuple[int, float, float]:
    """Voxels, seconds, and peak memory in MB of reading and predicting a file."""
    model, start = network(control).eval(), time.perf_counter()
    blocks = None if limit is None else Blocks(limit, round(5.0 / VOXEL))
    dataset = CloudDataset([Path(file)], VOXEL, 1.0, origin="sensor")
    batch = _batch(dataset)
    with torch.inference_mode():
        Voter([model], voxel_size=VOXEL, blocks=blocks)(batch)
    return len(batch.coords), time.perf_counter() - start, peak_memory_mb()


def _batch(dataset: CloudDataset) -> Batch:
    sample = dataset[0, 0]
    return collate([sample])  # type: ignore[list-item]


def _agreement(options: Options) -> Table:
    """Labels of a cloud of some scans, whole and in blocks, by a network from a seed."""
    voxels = scan(*where(options))
    feats = voxels.feats.numpy()
    copies = [feats + np.float32([0, 40 * i, 0, 0]) for i in range(1 if options.quick else 2)]
    batch = collate([build_sample(np.concatenate(copies), None, "0", voxel_size=VOXEL)])
    limit = len(batch.coords) // 6
    with torch.inference_mode():
        model = network(SMALL).eval()
        model(batch.feats, batch.coords)
        whole = Voter([model])(batch)
        table = Table(
            f"What blocks change: {len(batch.coords):,} voxels, {SMALL} with weights from a seed",
            ["overlap m", "blocks", "labels as of the whole cloud", "largest change of a confidence"],
            notes=["Sums in another order alone change a confidence by about 1e-6."],
        )
        for overlap in OVERLAPS:
            blocks = Blocks(max(limit, 1000), round(overlap / VOXEL))
            vote = Voter([model], blocks=blocks)(batch)
            same = float((vote.predictions == whole.predictions).double().mean())
            moved = float((vote.confidence - whole.confidence).abs().max())
            number = sum(1 for _ in blocks.divide(batch.coords))
            table.add(overlap, number, f"{same:.3%}", f"{moved:.1e}")
    return table
