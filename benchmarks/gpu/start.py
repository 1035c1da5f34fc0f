"""What the start of a process costs before it computes at full speed; and the tests that need a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu.setup import Report, Setup
from benchmarks.measure import begin, timed
from benchmarks.options import ROOT
from benchmarks.steps import evaluation, training_step
from benchmarks.steps import network as build


def start(setup: Setup, report: Report) -> None:
    """First and second pass of a new process, with an empty cache of kernels and with the one that it left."""
    table = report.table(
        "A new process",
        "engine",
        "cache of kernels",
        "import and device s",
        "first evaluation s",
        "second",
        "of one row more",
        "first step s",
        "second step",
    )
    for engine in (name for name in setup.usable() if name in ("native", "triton")):
        for cache in ("empty", "left by the first")[: 1 if engine == "native" else 2]:
            with report.guard(f"{engine}, {cache}"):
                began = time.perf_counter()
                found = _in_new_process(engine, setup)
                whole = time.perf_counter() - began
                table.add(engine, cache, whole - sum(found), *found)


def _in_new_process(engine: str, setup: Setup) -> list[float]:
    """What `first_calls` finds in a process with a cache of kernels of its own."""
    command = [sys.executable, "-m", "benchmarks.gpu.start", json.dumps([engine, setup.rehearse, str(setup.folder)])]
    around = os.environ | {"TRITON_CACHE_DIR": str(setup.folder / f"cache_{engine}")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=around)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def first_calls(engine: str, rehearse: bool, folder: str) -> list[float]:
    """Seconds of the first and the second evaluation, of one on another number of rows, and of two training steps."""
    setup = Setup(rehearse, Path(folder))
    voxels = setup.scan.to(setup.device)
    rows = slice(1, None)
    fewer = type(voxels)(voxels.feats[rows], voxels.coords[rows], voxels.labels[rows], voxels.name)
    model = build(setup.control, engine).to(setup.device)
    dtype = None if rehearse else torch.bfloat16
    calls = (
        evaluation(model, voxels, dtype),
        evaluation(model, fewer, dtype),
        training_step(model, voxels, dtype=dtype),
    )
    order = (calls[0], calls[0], calls[1], calls[2], calls[2])
    return [timed(call, setup.device) for call in order]


def tests(setup: Setup, report: Report) -> None:
    """`pytest -m gpu`; without a GPU its tests skip, which is what a rehearsal expects."""
    folder = ROOT / "tests" / "gpu"
    if not folder.is_dir():
        report.note("No tests lie beside this copy of the project.")
        return
    command = [sys.executable, "-m", "pytest", "-m", "gpu", str(folder), "-p", "no:cacheprovider", "-rs"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr[-300:]
    report.check("pytest -m gpu", done.returncode == 0 and ("passed" in last or setup.rehearse), last)
    if done.returncode:
        report.errors.append(done.stdout[-6000:])


if __name__ == "__main__":
    begin(threads=2)
    print(json.dumps(first_calls(*json.loads(sys.argv[1]))))
