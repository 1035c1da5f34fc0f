"""Does a killed run lose anything? `python benchmarks/kills.py [--kills 30] [--model spvnas_cluster] [--folder DIR]`.

A small run on synthetic streets is killed by SIGKILL at random moments, resumed by `ckpt=last` each time, and compared
with an undisturbed run: every tensor of its last checkpoint, and every row of metrics.csv but for what the clock says.
Every other run is killed again while it is resumed.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
CLOCK = ("scans_per_second", "system/")
SETTINGS = [
    "data=streets",
    "data.recipe={scans: 6, azimuths: 300, beams: 32, sequences: [0, 8]}",
    "data.sequences={train: [0], val: [8]}",
    "data.batch_size=1",
    "model/backbone=spvnas_small",
    "optim=adamw",
    "trainer=cpu",
    "trainer.max_epochs=3",
    "trainer.log_every_n_steps=1",
    "callbacks.last.every_n_steps=2",
    "callbacks.clusters=null",
    "callbacks.dashboard=null",
    "callbacks.pictures=null",
]


def start(run: Path, settings: list[str], log: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / "train.py"), *settings, f"hydra.run.dir={run}", *more]
    with open(log, "a") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)


def tensors(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every tensor and number below a value, by its path."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield from tensors(child, f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield from tensors(child, f"{name}/{index}")
    elif isinstance(value, torch.Tensor | int | float):
        yield name, value


def state(run: Path) -> dict[str, Any]:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)
    kept = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")
    return dict(tensors({key: checkpoint[key] for key in kept}))


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        table = list(csv.DictReader(file))
    values = [{k: v for k, v in row.items() if v and not any(c in k for c in CLOCK)} for row in table]
    return [row for row in values if row.keys() - {"step", "epoch"}]


def differences(run: Path, whole: Path) -> str:
    """What differs from the undisturbed run, in a few words."""
    ours, theirs = state(run), state(whole)
    same = ours.keys() == theirs.keys()
    other = [
        key for key in theirs if same and not torch.equal(torch.as_tensor(ours[key]), torch.as_tensor(theirs[key]))
    ]
    told = [] if same else ["other entries in the checkpoint"]
    told += [f"{len(other)} of {len(theirs)} values, first {other[0]}"] if other else []
    a, b = rows(run), rows(whole)
    if a != b:
        odd = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
        told.append(f"metrics.csv: {len(a)} rows against {len(b)}, first other row {odd}")
    return "; ".join(told) or "identical"


def steps_written(run: Path) -> str:
    """The step of each whole checkpoint that a killed run left."""
    found = []
    for path in sorted((run / "checkpoints").glob("*.ckpt")):
        try:
            found.append(f"{path.stem} {torch.load(path, map_location='cpu', weights_only=True)['global_step']}")
        except Exception as error:  # that is what the table is to show
            found.append(f"{path.stem} UNREADABLE {type(error).__name__}")
    return ", ".join(found) or "none"


def kill_at(run: Path, settings: list[str], log: Path, moment: float) -> str | None:
    """What a run left that was killed at a moment, in seconds; None if it ended before."""
    process = start(run, settings, log, "ckpt=auto")
    try:
        process.wait(moment)
        return None
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return steps_written(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--model", default="spvnas_cluster")
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("settings", nargs="*", help="more settings, as train.py takes them")
    args = parser.parse_args()
    folder = args.folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "log.txt"
    settings = [*SETTINGS, f"model={args.model}", f"data.root={folder / 'streets'}", *args.settings]
    whole = folder / "whole"
    start(whole, settings, log).wait()  # makes the streets
    began = time.monotonic()
    if start(folder / "again", settings, log).wait() != 0:
        sys.exit(f"the undisturbed run failed, see {log}")
    seconds = time.monotonic() - began
    print(f"undisturbed: {seconds:.1f} s; a second time: {differences(folder / 'again', whole)}", flush=True)
    random.seed(args.seed)
    identical, resumed, killed = 0, 0, 0
    print(f"{'kills':>5}  {'after s':>12}  {'checkpoints left (step)':70}  resumed to its end")
    while killed < args.kills:
        run = folder / f"{resumed}"
        moments, left = [], []
        for _ in range(1 + resumed % 2):  # every other run is killed a second time, while it is resumed
            moment = random.uniform(0.3 * seconds, seconds)
            found = kill_at(run, settings, log, moment)
            if found is None:
                seconds = min(seconds, moment)  # the machine has become faster
                break
            moments.append(f"{moment:.2f}")
            left.append(found)
        code = start(run, settings, log, "ckpt=auto").wait()
        told = differences(run, whole) if code == 0 else f"FAILED with status {code}, see {log}"
        if moments:
            killed += len(moments)
            resumed += 1
            identical += told == "identical"
            print(f"{killed:5}  {' '.join(moments):>12}  {' | '.join(left):70}  {told}", flush=True)
        shutil.rmtree(run)
    print(f"{identical} of {resumed} runs identical after {killed} kills")


if __name__ == "__main__":
    main()
