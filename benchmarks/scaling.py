"""Time and memory from 10,000 to a million voxels, each size in a process of its own."""

from __future__ import annotations

import math

import torch

from benchmarks.evaluation import where
from benchmarks.measure import CPU, in_child, interleave, peak_memory_mb, product_rate, timed
from benchmarks.options import Options
from benchmarks.scans import cloud, scan
from benchmarks.steps import LARGE, SMALL, evaluation, forward_flop, network, training_step
from benchmarks.tables import Table, percent

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
#: Voxels above which a call takes so long that the first one is timed, and no other.
LARGE_CLOUD = 500_000
WHAT = {"evaluation": LARGE, "training step": SMALL}


def run(options: Options) -> list[Table]:
    sizes = (300, 600) if options.quick else SIZES
    tables = []
    for what, control in WHAT.items():
        found = [in_child(measure, what, control, size, *where(options), threads=options.threads) for size in sizes]
        table = Table(
            f"Growth: {what} of {control}, float32",
            ["voxels", "pairs' GFLOP", "median s", "of the floor", "microseconds a voxel", "peak MB", "bytes a voxel"],
            notes=[
                f"Time grows as voxels to the power of {exponent(sizes, [one['seconds'] for one in found]):.2f}. "
                "Copies of one scan side by side; bytes a voxel: what the peak is above that of the smallest cloud."
            ],
        )
        for size, one in zip(sizes, found, strict=True):
            more = 1e6 * (one["peak"] - found[0]["peak"]) / (size - sizes[0]) if size > sizes[0] else None
            seconds = one["seconds"]
            table.add(size, one["flop"] / 1e9, seconds, percent(one["share"]), 1e6 * seconds / size, one["peak"], more)
        tables.append(table)
    return tables


def exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """Slope of the straight line through the logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    rise = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return rise / sum((a - mean_x) ** 2 for a in x)


def measure(what: str, control: str, size: int, data: str | None, quick: bool) -> dict[str, float]:
    voxels, model = cloud(scan(data, quick), size), network(control)
    factor = 1 if what == "evaluation" else 3
    call = evaluation(model, voxels) if what == "evaluation" else training_step(model, voxels)
    flop = factor * forward_flop(model, voxels)
    seconds = timed(call)
    peak = peak_memory_mb()  # before the yardsticks take memory of their own
    if size > LARGE_CLOUD:
        share = flop / product_rate(CPU, torch.float32) / seconds
    else:
        times = interleave({what: call}, 1 if quick else 3, quick=quick, warm=True)
        seconds, share = times.median(what), times.share(what, flop)
    return {"seconds": seconds, "share": share, "flop": flop, "peak": peak}
