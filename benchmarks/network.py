"""Training steps: the 10.8 M network on a whole scan, with and without head; the small one on coarse streets."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.evaluation import label as engine_label
from benchmarks.evaluation import where
from benchmarks.measure import in_child, interleave, peak_memory_mb, without_bfloat16
from benchmarks.options import Options, shared_folder
from benchmarks.scans import Voxels, coarse_streets, scan
from benchmarks.steps import LARGE, SMALL, forward_flop, head_of, head_step, network, training_step
from benchmarks.tables import Table, percent

WHOLE, COARSE, GOLDEN = "whole", "coarse", "golden"
WITH_HEAD, HEAD_ALONE = "with the head", "the head alone"
Case = tuple[str, str, str, str, str, str]
#: Network, input, what of the head, type of autocast, engine, target.
CASES: tuple[Case, ...] = (
    (LARGE, WHOLE, "", "float32", "auto", "at least 62 % of the floor"),
    (LARGE, WHOLE, WITH_HEAD, "float32", "auto", "at most 1.05 times the first row"),
    (LARGE, WHOLE, HEAD_ALONE, "float32", "auto", "at most 0.05 times the first row"),
    (LARGE, WHOLE, "", "bfloat16", "auto", ""),
    (SMALL, COARSE, "", "float32", "auto", "at least 50 % of the floor"),
    (SMALL, COARSE, "", "float32", "native", ""),
    (SMALL, COARSE, WITH_HEAD, "float32", "auto", ""),
    (LARGE, GOLDEN, "", "float32", "auto", "peak of at most 1,500 MB"),
)


def run(options: Options) -> list[Table]:
    missing = without_bfloat16()
    cases = [case for case in CASES if missing is None or case[3] == "float32"]
    tables = [_table(options, [case for case in cases if case[1] == given]) for given in given_inputs()]
    tables[0].notes += [] if missing is None else [missing]
    return tables


def given_inputs() -> tuple[str, ...]:
    return (WHOLE, COARSE) if golden_voxels() is None else (WHOLE, COARSE, GOLDEN)


def _table(options: Options, cases: list[Case]) -> Table:
    voxels = load(cases[0][1], *where(options))
    models = {case[4]: network(case[0], case[4]) for case in cases}
    model = models["auto"]
    flop = 3 * forward_flop(model, voxels)
    names = [label(case) for case in cases]
    steps = {name: _step(models[case[4]], voxels, case) for name, case in zip(names, cases, strict=True)}
    times = interleave(steps, options.rounds_of(1.4 if cases[0][1] == COARSE else 0.8), quick=options.quick)
    table = Table(
        f"Training step on {voxels.name} ({len(voxels):,} voxels, {flop / 1e9:.1f} GFLOP)",
        ["step", "median s", "best s", "of the float32 floor", "times the first row", "peak MB", "target"],
        notes=[times.note(), "Forward pass, cross-entropy, Lovász-softmax, backward pass; no optimiser."],
    )
    if any(case[2] == HEAD_ALONE for case in cases):
        table.notes.append("The head costs the same for a batch of more scans, so that its share of the step falls.")
    for name, case in zip(names, cases, strict=True):
        memory = in_child(peak, *case[:5], *where(options), threads=options.threads)
        share = None if case[2] == HEAD_ALONE else percent(times.share(name, flop))
        ratio = times.ratio(name, names[0])
        table.add(name, times.median(name), times.best(name), share, ratio, memory, case[5])
    return table


def label(case: Case) -> str:
    control, _, head, kind, engine, _ = case
    return engine_label(control, kind, engine) + (f", {head}" if head else "")


def _step(model, voxels: Voxels, case):  # type: ignore[no-untyped-def]
    _, _, what, kind, _, _ = case
    head = head_of(model) if what else None
    if what == HEAD_ALONE:
        return head_step(head, voxels)
    return training_step(model, voxels, head, None if kind == "float32" else getattr(torch, kind))


def load(name: str, data: str | None, quick: bool) -> Voxels:
    if name == COARSE:
        return coarse_streets(quick)
    if name == GOLDEN and not quick:
        found = golden_voxels()
        assert found is not None
        return found
    return scan(data, quick)


def golden_voxels() -> Voxels | None:
    """The lidar case of the golden values, where they are; it has no labels, so they are made up."""
    folder = shared_folder()
    file = None if folder is None else folder / "golden" / "golden_lidar.npz"
    if file is None or not file.is_file():
        return None
    with np.load(file) as arrays:
        feats, coords = (torch.from_numpy(arrays[key]) for key in ("feats", "coords"))
    labels = torch.arange(len(feats)) % 19
    return Voxels(feats, coords[:, [3, 0, 1, 2]], labels, "the golden lidar case")


def peak(control: str, name: str, head: str, kind: str, engine: str, data: str | None, quick: bool) -> float:
    """Peak memory in MB of a process that makes two steps."""
    model = network(control, engine)
    step = _step(model, load(name, data, quick), (control, name, head, kind, engine, ""))
    for _ in range(2):
        step()
    return peak_memory_mb()
