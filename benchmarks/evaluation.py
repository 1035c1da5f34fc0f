"""Evaluation of a whole scan: float32, and half precision by autocast, in one run."""

from __future__ import annotations

import torch

from benchmarks.measure import in_child, interleave, peak_memory_mb, without_bfloat16
from benchmarks.options import Options
from benchmarks.scans import scan
from benchmarks.steps import LARGE, SMALL, evaluation, forward_flop, network
from benchmarks.tables import Table, percent

#: Network, type of autocast, the target of its row.
CASES: tuple[tuple[str, str, str], ...] = (
    (LARGE, "float32", "at least 68 % of the floor"),
    (LARGE, "bfloat16", "at least 1.6 times as fast as float32"),
    (SMALL, "float32", ""),
    (SMALL, "bfloat16", ""),
)


def run(options: Options) -> list[Table]:
    voxels = scan(options.data, options.quick)
    models = {control: network(control) for control in (LARGE, SMALL)}
    missing = without_bfloat16()
    cases = [case for case in CASES if missing is None or case[1] == "float32"]
    calls = {f"{control} {kind}": evaluation(models[control], voxels, autocast(kind)) for control, kind, _ in cases}
    times = interleave(calls, options.rounds_of(), quick=options.quick)
    table = Table(
        f"Evaluation of a whole scan ({voxels.name}, {len(voxels):,} voxels)",
        [
            "network",
            "median s",
            "best s",
            "GFLOP",
            "of the float32 floor",
            "times as fast as float32",
            "peak MB",
            "target",
        ],
        notes=[times.note(), "The floor is the useful arithmetic at the speed of the yardstick of the same round."],
    )
    table.notes += [] if missing is None else [missing]
    for control, kind, target in cases:
        name, flop = f"{control} {kind}", forward_flop(models[control], voxels)
        faster = None if kind == "float32" else times.ratio(f"{control} float32", name)
        peak = in_child("benchmarks.evaluation:peak", control, kind, *where(options), threads=options.threads)
        table.add(
            f"{control}, {kind}",
            times.median(name),
            times.best(name),
            flop / 1e9,
            percent(times.share(name, flop)),
            faster,
            peak,
            target,
        )
    return [table]


def autocast(kind: str) -> torch.dtype | None:
    return None if kind == "float32" else getattr(torch, kind)


def where(options: Options) -> tuple[str | None, bool]:
    """Which scan, in a form that goes through JSON."""
    return (None if options.data is None else str(options.data)), options.quick


def peak(control: str, kind: str, data: str | None, quick: bool) -> float:
    """Peak memory in MB of a process that evaluates the scan three times."""
    voxels = scan(data, quick)
    call = evaluation(network(control), voxels, autocast(kind))
    for _ in range(3):
        call()
    return peak_memory_mb()
