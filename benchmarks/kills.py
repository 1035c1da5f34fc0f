"""Does a killed run lose anything? `python benchmarks/kills.py [--kills 30] [--model spvnas_cluster] [--folder DIR]`.

A small run on synthetic streets is killed by SIGKILL at random moments, resumed by `ckpt=last` each time, and compared
with an undisturbed run: every tensor of its last checkpoint, and every row of metrics.csv but for what the clock says.
Every other run is killed again while it is resumed. The share of time recovered is the training time that the newest
whole checkpoint keeps, of all training time before the kill; it follows `callbacks.last.every_n_steps`.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clusterseg.runs.checkpoint import newest_whole

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


@dataclass(frozen=True)
class Killed:
    """What a killed run left: its checkpoints in words, and the seconds of training that they keep and lack."""

    left: str
    kept: float
    lost: float


def seconds_kept(checkpoint: Path | None) -> float:
    """Seconds of training in a checkpoint, with those of the parts before a resume."""
    if checkpoint is None:
        return 0.0
    states = torch.load(checkpoint, map_location="cpu", weights_only=True)["callbacks"]
    return float(states["SystemFigures"]["seconds"])


def killed(run: Path, began: float, before: float) -> Killed:
    """Look at a run that has just been killed.

    Args:
        run: Its folder.
        began: Time when its process was started.
        before: Seconds of training in the checkpoint that it resumed.
    """
    now, newest, settings = time.time(), newest_whole(run / "checkpoints"), run / "config.yaml"
    since = settings.stat().st_mtime if settings.is_file() else 0.0  # written right before the first step
    if since < began:  # killed in its imports: it had not trained
        return Killed(steps_written(run), 0.0, 0.0)
    if newest is None or newest.stat().st_mtime < since:
        return Killed(steps_written(run), 0.0, now - since)
    return Killed(steps_written(run), seconds_kept(newest) - before, now - newest.stat().st_mtime)


def kill_at(run: Path, settings: list[str], log: Path, moment: float) -> Killed | None:
    """What a run left that was killed at a moment, in seconds; None if it ended before."""
    before, began = seconds_kept(newest_whole(run / "checkpoints")), time.time()
    process = start(run, settings, log, "ckpt=auto")
    try:
        process.wait(moment)
        return None
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return killed(run, began, before)


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
    identical, resumed, kills = 0, 0, 0
    kept = lost = 0.0
    print(f"{'kills':>5}  {'after s':>12}  {'checkpoints left (step)':70}  resumed to its end")
    while kills < args.kills:
        run = folder / f"{resumed}"
        moments, left = [], []
        for _ in range(1 + resumed % 2):  # every other run is killed a second time, while it is resumed
            moment = random.uniform(0.3 * seconds, seconds)
            found = kill_at(run, settings, log, moment)
            if found is None:
                seconds = min(seconds, moment)  # the machine has become faster
                break
            moments.append(f"{moment:.2f}")
            left.append(found.left)
            kept, lost = kept + found.kept, lost + found.lost
        code = start(run, settings, log, "ckpt=auto").wait()
        told = differences(run, whole) if code == 0 else f"FAILED with status {code}, see {log}"
        if moments:
            kills += len(moments)
            resumed += 1
            identical += told == "identical"
            print(f"{kills:5}  {' '.join(moments):>12}  {' | '.join(left):70}  {told}", flush=True)
        shutil.rmtree(run)
    print(f"{identical} of {resumed} runs identical after {kills} kills")
    print(
        f"share of time recovered: {kept / max(kept + lost, 1e-9):.3f} ({kept:.1f} of {kept + lost:.1f} s of training)"
    )


if __name__ == "__main__":
    main()
