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
from benchmarks.scans import coarse_streets, scan, street
from benchmarks.steps import LARGE, SMALL, network, training_step
from benchmarks.tables import Table
from clusterseg.backbone import SPVNAS
from clusterseg.data.batch import Batch, collate
from clusterseg.data.sample import build_sample
from clusterseg.predict.blocks import SIGHT, Blocks
from clusterseg.predict.cloud_data import CloudDataset
from clusterseg.predict.voter import Voter

POINTS = 5_000_000
LIMIT = 150_000
VOXEL = 0.05
#: Metres of overlap whose agreement with the whole cloud is counted, on a cloud that fits; in voxels of this size.
OVERLAPS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0)
COARSE = 0.2


def run(options: Options) -> list[Table]:
    points, limit = (30_000, 5_000) if options.quick else (POINTS, LIMIT)
    table = Table(
        f"Prediction of one cloud of {points:,} points",
        ["network, way", "voxels", "s", "peak MB", "target"],
        notes=[
            "Copies of a scan in a square, each point moved by up to a metre so that most have a voxel of their own. "
            f"Blocks of at most {limit:,} voxels, overlap 100 voxels; read, voxelise, predict, in a process of its own."
        ],
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.npy"
        write_cloud(options, points, file)
        for control in (SMALL, LARGE):
            for limit_or_none in (limit, None):
                if limit_or_none is None and control == LARGE:
                    continue  # more than most machines have
                found = in_child(measure, control, str(file), limit_or_none, threads=options.threads)
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
    blocks = None if limit is None else Blocks(limit, SIGHT)
    dataset = CloudDataset([Path(file)], VOXEL, 1.0, origin="sensor")
    batch = _batch(dataset)
    with torch.inference_mode():
        Voter([model], voxel_size=VOXEL, blocks=blocks)(batch)
    return len(batch.coords), time.perf_counter() - start, peak_memory_mb()


def _batch(dataset: CloudDataset) -> Batch:
    sample = dataset[0, 0]
    return collate([sample])  # type: ignore[list-item]


def _agreement(options: Options) -> Table:
    """Labels of streets, whole and in blocks, by a network that has learnt something: an untrained one hardly looks."""
    model = _trained(3 if options.quick else 60)
    rays = (16, 100) if options.quick else (64, 2000)
    streets = [street(1, *rays, voxel_size=COARSE, moment=2.0 * i).feats.numpy() for i in range(3)]
    clouds = [feats + np.float32([0, 40 * i, 0, 0]) for i, feats in enumerate(streets)]
    batch = collate([build_sample(np.concatenate(clouds), None, "0", voxel_size=COARSE)])
    table = Table(
        f"What blocks change: {len(batch.coords):,} voxels of {COARSE} m, {SMALL} after 60 steps",
        ["overlap m", "in voxels", "blocks", "labels as of the whole cloud", "largest change of a confidence"],
        notes=["Sums in another order alone change a confidence by about 1e-6. Three streets side by side."],
    )
    with torch.inference_mode():
        whole = Voter([model])(batch)
        for overlap in OVERLAPS:
            blocks = Blocks(max(len(batch.coords) // 6, 1000), round(overlap / COARSE))
            vote = Voter([model], blocks=blocks)(batch)
            same = float((vote.predictions == whole.predictions).double().mean())
            moved = float((vote.confidence - whole.confidence).abs().max())
            number = sum(1 for _ in blocks.divide(batch.coords))
            table.add(overlap, blocks.overlap, number, f"{same:.3%}", f"{moved:.1e}")
    return table


def _trained(steps: int) -> SPVNAS:
    model, voxels = network(SMALL), coarse_streets(quick=steps < 10)
    step, optimizer = training_step(model, voxels), torch.optim.AdamW(model.parameters(), 0.004)
    for _ in range(steps):
        step()
        optimizer.step()
    return model.eval()
