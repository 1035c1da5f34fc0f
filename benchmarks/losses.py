"""The losses: forward and backward pass on logits (voxels, 19)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.measure import in_child, interleave, peak_memory_mb
from benchmarks.options import Options
from benchmarks.tables import Table
from clusterseg.losses import CrossEntropy, LovaszSoftmax

CLASSES = 19
#: Voxels, target of the Lovász loss.
SIZES = ((320_000, "at most 120 ms"), (80_000, "at most 30 ms"))
LOSSES = {"Lovász-softmax": LovaszSoftmax, "cross-entropy": CrossEntropy}


def run(options: Options) -> list[Table]:
    return [_table(options, min(voxels, 2_000) if options.quick else voxels, target) for voxels, target in SIZES]


def _table(options: Options, voxels: int, target: str) -> Table:
    keys = np.random.default_rng(0).integers(0, 1 << 31, (CLASSES, voxels))
    calls: dict[str, Callable[[], object]] = {name: both_ways(name, voxels) for name in LOSSES}
    calls["sorts"] = lambda: [np.sort(row) for row in keys]
    times = interleave(calls, options.rounds_of(3), quick=options.quick)
    sorts = f"{CLASSES} numpy sorts of {voxels:,} int64 keys"
    table = Table(
        f"Losses, {voxels:,} x {CLASSES}, forward + backward",
        ["loss", "median ms", "best ms", f"times the {CLASSES} sorts", "peak MB", "target"],
        notes=[times.note(), f"{sorts} take {1e3 * times.median('sorts'):.1f} ms in the same rounds."],
    )
    for name in LOSSES:
        memory = in_child(peak, name, voxels, threads=options.threads)
        figures = 1e3 * times.median(name), 1e3 * times.best(name), times.ratio(name, "sorts")
        table.add(name, *figures, memory, target if name == "Lovász-softmax" else "")
    return table


def both_ways(name: str, voxels: int) -> Callable[[], torch.Tensor]:
    """A loss of logits as of a network that has learnt something: 70 % of the voxels are right."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (voxels,), generator=random)
    logits = torch.randn(voxels, CLASSES, generator=random)
    right = torch.rand(voxels, generator=random) < 0.7
    logits[torch.arange(voxels), labels] += 4.0 * right
    logits.requires_grad_()
    loss = LOSSES[name]()

    def call() -> torch.Tensor:
        return torch.autograd.grad(loss(logits, labels), logits)[0]

    return call


def peak(name: str, voxels: int) -> float:
    call = both_ways(name, voxels)
    for _ in range(3):
        call()
    return peak_memory_mb()
