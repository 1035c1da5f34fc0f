"""From the start of `train.py` to the end of its first training step, small network, streets on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from pytorch_lightning import Callback, LightningModule, Trainer

from benchmarks.measure import peak_memory_mb
from benchmarks.options import ROOT, Options
from benchmarks.tables import Table
from clusterseg.synthetic import Recipe, write_streets

SETTINGS = (
    "model=spvnas",
    "data=streets",
    "data.recipe={scans: 4, azimuths: 500, beams: 32, sequences: [0, 8]}",
    "data.sequences={train: [0], val: [8]}",
    "data.voxel_size=0.2",
    "data.batch_size=4",
    "model/backbone=spvnas_small",
    "optim=adamw",
    "trainer=cpu",
    "trainer.max_steps=1",
    "trainer.limit_val_batches=0",
    "+callbacks.moment={_target_: benchmarks.startup.FirstStep}",
)
MARK = "first step at"
TRAINING = "`train.py` to the end of its first step"


class FirstStep(Callback):
    """Says when the first training step is done, and the memory until then."""

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        if trainer.global_step == 1:
            print(f"\n{MARK} {time.time()} {peak_memory_mb()}", flush=True)


def run(options: Options) -> list[Table]:
    rounds = 1 if options.quick else 3
    rows: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "streets"
        write_streets(root, Recipe.of(scans="4", azimuths="500", beams="32", sequences="0,8"), quiet=True)
        for turn in range(rounds):
            rows.setdefault("interpreter and `import torch`", []).append(_import("torch"))
            rows.setdefault("and `import pytorch_lightning`", []).append(_import("pytorch_lightning"))
            settings = (f"data.root={root}", f"hydra.run.dir={folder}/run{turn}")
            rows.setdefault(TRAINING, []).append(_first_step(options.threads, settings))
    table = Table(
        "Start of a training: small network, four streets of 32 x 500 rays, voxels of 20 cm",
        ["from the start of the process", "median s", "best s", "peak MB", "target"],
        notes=[
            "The processes are started in turn; files lie in the page cache, the imports of torch are the yardstick."
        ],
    )
    for name, found in rows.items():
        seconds, peaks = zip(*found, strict=True)
        table.add(name, median(seconds), min(seconds), max(peaks), "at most 4 s" if name == TRAINING else "")
    return [table]


def _import(package: str) -> tuple[float, float]:
    code = f"import {package}; from benchmarks.measure import peak_memory_mb; print(peak_memory_mb())"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return time.perf_counter() - start, float(done.stdout)


def _first_step(threads: int, settings: tuple[str, ...]) -> tuple[float, float]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": str(threads)}
    start = time.time()
    command = [sys.executable, str(ROOT / "train.py"), *SETTINGS, *settings]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not lines:
        raise RuntimeError(f"{' '.join(command)} ended without a step:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    moment, peak = lines[0].removeprefix(MARK).split()
    return float(moment) - start, float(peak)
