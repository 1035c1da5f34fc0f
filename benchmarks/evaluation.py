"""Evaluation of a whole scan: float32, and half precision by autocast, in one run."""

from __future__ import annotations

import torch

from benchmarks.measure import CPU, in_child, interleave, peak_memory_mb, without_bfloat16
from benchmarks.options import Options
from benchmarks.scans import scan
from benchmarks.steps import LARGE, SMALL, evaluation, forward_flop, network
from benchmarks.tables import Table, percent
from clusterseg.sparse.backends.auto import engine_for

#: Network, type of autocast, engine, the target of its row.
CASES: tuple[tuple[str, str, str, str], ...] = (
    (LARGE, "float32", "auto", "at least 68 % of the floor"),
    (LARGE, "float32", "native", ""),
    (LARGE, "bfloat16", "auto", "at least 1.6 times as fast as float32"),
    (SMALL, "float32", "auto", ""),
    (SMALL, "float32", "native", ""),
    (SMALL, "bfloat16", "auto", ""),
)


def run(options: Options) -> list[Table]:
    voxels = scan(options.data, options.quick)
    missing = without_bfloat16()
    cases = [case for case in CASES if missing is None or case[1] == "float32"]
    models = {case[:3]: network(case[0], case[2]) for case in cases}
    calls = {label(*case[:3]): evaluation(models[case[:3]], voxels, autocast(case[1])) for case in cases}
    times = interleave(calls, options.rounds_of(), quick=options.quick)
    table = Table(
        f"Evaluation of a whole scan ({voxels.name}, {len(voxels):,} voxels)",
        [
            "network",
            "median s",
            "best s",
            "GFLOP",
            "of the float32 floor",
            "times as fast as the first",
            "peak MB",
            "target",
        ],
        notes=[times.note(), "The floor is the useful arithmetic at the speed of the yardstick of the same round."],
    )
    table.notes += [] if missing is None else [missing]
    for control, kind, engine, target in cases:
        name, flop = label(control, kind, engine), forward_flop(models[control, kind, engine], voxels)
        first = label(control, "float32", "auto")
        faster = None if name == first else times.ratio(first, name)
        memory = in_child(peak, control, kind, engine, *where(options), threads=options.threads)
        table.add(
            name,
            times.median(name),
            times.best(name),
            flop / 1e9,
            percent(times.share(name, flop)),
            faster,
            memory,
            target,
        )
    return [table]


def label(control: str, kind: str, engine: str) -> str:
    """What a row is called: with the engine that `auto` stands for on this machine."""
    return f"{control}, {kind}, {engine_for(CPU) if engine == 'auto' else engine}"


def autocast(kind: str) -> torch.dtype | None:
    return None if kind == "float32" else getattr(torch, kind)


def where(options: Options) -> tuple[str | None, bool]:
    """Which scan, in a form that goes through JSON."""
    return (None if options.data is None else str(options.data)), options.quick


def peak(control: str, kind: str, engine: str, data: str | None, quick: bool) -> float:
    """Peak memory in MB of a process that evaluates the scan three times."""
    voxels = scan(data, quick)
    call = evaluation(network(control, engine), voxels, autocast(kind))
    for _ in range(3):
        call()
    return peak_memory_mb()
