"""Does anything mix or get lost where two start at once? `python benchmarks/collisions.py [PAIRS] [--folder DIR]`.

Pairs of trainings, sweeps and predictions start together into the same default folder and into the same named one, and
every other pair has one of its two killed by SIGKILL at a random moment. Afterwards each folder is read: one
configuration, metrics without a gap or a double, checkpoints that load and are of that configuration, and an outcome
that is true. A named folder is then used once more, as after a kill: its lock must not stand in the way.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("train default", "train named", "sweep default", "sweep named", "predict named")
SETTINGS = [
    "data=streets",
    "data.recipe={scans: 3, azimuths: 200, beams: 16, sequences: [0, 8]}",
    "data.sequences={train: [0], val: [8]}",
    "data.batch_size=1",
    "model/backbone=spvnas_small",
    "loss=ce",
    "optim=adamw",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "callbacks.clusters=null",
    "callbacks.dashboard=null",
    "callbacks.pictures=null",
]


def start(folder: Path, log: str, script: str, *arguments: str) -> subprocess.Popen:
    with open(folder / log, "a") as file:
        command = [sys.executable, str(ROOT / script), *arguments]
        return subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT)


def commands(kind: str, folder: Path, seed: int, more: list[str]) -> tuple[str, list[str]]:
    """The script and its arguments for one of a pair; the two differ in their seed."""
    if kind.startswith("predict"):
        source = folder.parent / "clouds" / str(seed % 2)
        ckpt = folder.parent / "whole/checkpoints/last.ckpt"
        return "predict.py", [f"ckpt={ckpt}", f"input={source}", f"output={folder / 'labels'}", "trainer=cpu"]
    settings = [*SETTINGS, f"data.root={folder.parent / 'streets'}", *more]
    sweep = kind.startswith("sweep")
    settings = ["-m", *settings, f"seed={2 * seed},{2 * seed + 1}"] if sweep else [*settings, f"seed={seed}"]
    if kind.endswith("named"):
        settings.append(f"hydra.{'sweep' if sweep else 'run'}.dir={folder / 'named'}")
    return "train.py", settings


def run_faults(run: Path) -> list[str]:
    """What is wrong with a training's folder."""
    finished = (run / "outcome.json").is_file() and '"finished"' in (run / "outcome.json").read_text()
    if not (run / "config.yaml").is_file():
        return ["finished without a configuration"] if finished else []
    config = yaml.safe_load((run / "config.yaml").read_text())
    hydra = yaml.safe_load((run / ".hydra" / "config.yaml").read_text())
    faults = [] if hydra["seed"] == config["seed"] else ["two configurations"]
    for path in (run / "checkpoints").glob("[!.]*.ckpt"):
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            faults.append(f"{path.name} does not load: {error}")
            continue
        faults += [f"{path.name} is of another run"] if checkpoint["config"]["seed"] != config["seed"] else []
        if finished and path.name == "last.ckpt" and checkpoint["global_step"] != 6:
            faults.append(f"finished at step {checkpoint['global_step']}")
    if finished:
        with open(run / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        for key in ("train/loss", "val/miou"):
            steps = [int(row["step"]) for row in rows if row.get(key)]
            expected = [0, 1, 2, 3, 4, 5] if key == "train/loss" else [2, 5]
            faults += [f"{key} at {steps}"] if steps != expected else []
        faults += [] if (run / "checkpoints" / "best.ckpt").is_file() else ["finished without best.ckpt"]
    return faults


def label_faults(output: Path, clouds: Path) -> list[str]:
    """What is wrong with the label files that are there: each must be as long as one of the clouds of its name."""
    faults = []
    for path in output.rglob("*.label"):
        sizes = {len(np.load(source)) for source in clouds.rglob(f"{path.stem}.npy")}
        if path.stat().st_size // 4 not in sizes:
            faults.append(f"{path.name} is cut")
    return faults


def one_pair(kind: str, folder: Path, kill: bool, seconds: float) -> tuple[str, list[str]]:
    """Run a pair; what became of the two, and what is wrong in the end."""
    processes = []
    for i in range(2):
        script, arguments = commands(kind, folder, seed := 2 * random.randrange(1000) + i, [])
        processes.append(start(folder, f"{i}.txt", script, *arguments))
    if kill:
        time.sleep(random.uniform(0.2, 1.0) * seconds)
        victim = random.choice(processes)
        victim.kill()
    states = [process.wait(300) for process in processes]
    told = ["killed" if s < 0 else {0: "finished", 2: "refused"}.get(s, f"status {s}") for s in states]
    faults = [f"status {s}" for s in states if s not in (0, 2, -9)]
    faults += ["both were refused"] if told == ["refused", "refused"] else []
    faults += ["a traceback"] if any("Traceback" in path.read_text() for path in folder.glob("[01].txt")) else []
    if kind == "train named" and "killed" in told and "finished" not in told:  # the lock of the dead
        script, arguments = commands(kind, folder, seed, ["ckpt=auto", *held_seed(folder / "named")])
        again = start(folder, "again.txt", script, *arguments).wait(300)
        faults += [f"not resumed: status {again}"] if again else []
        told.append("resumed")
    for config in folder.rglob("config.yaml"):
        if config.parent.name != ".hydra":
            faults += [f"{config.parent.name}: {fault}" for fault in run_faults(config.parent)]
    if kind.startswith("predict"):
        faults += label_faults(folder / "labels", folder.parent / "clouds")
    finished = sum('"finished"' in path.read_text() for path in folder.rglob("outcome.json"))
    expected = told.count("finished") * (2 if kind.startswith("sweep") else 1) + ("resumed" in told)
    if not kind.startswith("predict") and finished < expected:
        faults.append(f"{finished} finished runs on the disk, {expected} told")
    return " + ".join(sorted(told)), faults


def held_seed(run: Path) -> list[str]:
    """The seed of the run in a folder, so that the resumed one is the same."""
    path = run / "config.yaml"
    return [f"seed={yaml.safe_load(path.read_text())['seed']}"] if path.is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", nargs="?", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "collisions")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no pair after so many")
    args = parser.parse_args()
    random.seed(args.seed)
    base = args.folder.absolute()
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir(parents=True)
    for i in range(2):
        (base / "clouds" / str(i)).mkdir(parents=True)
        for j in range(4):
            np.save(base / "clouds" / str(i) / f"{j}.npy", np.random.default_rng(j).random((2000 + i, 4), "f4"))
    settings = [*SETTINGS, f"data.root={base / 'streets'}", f"hydra.run.dir={base / 'whole'}"]
    began = time.monotonic()
    if start(base, "whole.txt", "train.py", *settings).wait() != 0:
        sys.exit(f"the first run failed, see {base / 'whole.txt'}")
    seconds, begun = time.monotonic() - began, time.monotonic()
    ends: dict[str, Counter] = {kind: Counter() for kind in KINDS}
    wrong: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for number in range(args.pairs):
        kind = KINDS[number % len(KINDS)]
        if time.monotonic() - begun > 60 * args.minutes:
            break
        folder = base / f"{number:03}"
        folder.mkdir()
        told, faults = one_pair(kind, folder, kill=(number // len(KINDS)) % 2 == 1, seconds=seconds)
        ends[kind][told] += 1
        wrong[kind] += [f"pair {number}: {fault}" for fault in faults]
        print(f"{number:3} {kind:14} {told:28} {'; '.join(faults) or 'right'}", flush=True)
        if not faults:
            shutil.rmtree(folder)
    print(f"\n{'pairs':14} {'number':>6} {'wrong':>5}  how they ended")
    for kind in KINDS:
        how = ", ".join(f"{count} x {told}" for told, count in ends[kind].most_common())
        print(f"{kind:14} {sum(ends[kind].values()):6} {len(wrong[kind]):5}  {how}")


if __name__ == "__main__":
    main()
