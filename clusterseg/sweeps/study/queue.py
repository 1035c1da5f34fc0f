"""The queue of a study: runs the cells that have no result, some at a time, and survives being killed.

Each run is a process of its own in its own folder, `RUNS/STUDY/ARM/SEED`. A run that was killed resumes from its last
checkpoint; a run that finished leaves a JSON file and is never repeated, not on another machine either.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console

from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.runs.outcome import read_outcome
from clusterseg.sweeps.study.plan import Cell, Plan, chosen
from clusterseg.sweeps.study.result import Result, read_metrics, read_results

PROGRAM = (sys.executable, "-m", "clusterseg", "train")
_CLOCK = "seconds.json"
_POLL = 0.5  # seconds


@dataclass(frozen=True)
class Workplace:
    """Where and how the runs of a study are made.

    Attributes:
        runs: Folder of the runs: logs and checkpoints, which may be thrown away when the study is done.
        out: Folder of the results, one JSON file a run, to be kept.
        at_once: Runs at a time.
        threads: Threads a run.
    """

    runs: Path
    out: Path
    at_once: int = 1
    threads: int = 1


@dataclass
class _Running:
    cell: Cell
    process: subprocess.Popen[bytes]
    started: float
    before: float


def run_study(plan: Plan, place: Workplace, arms: Sequence[str] | None = None) -> list[str]:
    """Run what is missing of a study.

    Args:
        plan: The study.
        place: Where its runs and results go.
        arms: Only these arms; all if None.

    Returns:
        The names of the cells that failed.

    Raises:
        UserError: A result in `place.out` belongs to another plan, or a folder cannot be written.
    """
    cells = chosen(list(plan.cells()), arms)
    done = read_results(plan, place.out)
    waiting = [cell for cell in cells if cell.name not in done]
    console = Console(stderr=True)
    console.print(f"study {plan.name}: {len(cells)} runs, {len(cells) - len(waiting)} finished before")
    progress = _Progress(console, len(waiting))
    running: list[_Running] = []
    failed: list[str] = []
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        while waiting or running:
            while waiting and len(running) < place.at_once:
                running.append(_start(waiting.pop(0), place))
            time.sleep(_POLL)
            for run in [run for run in running if run.process.poll() is not None]:
                running.remove(run)
                result = _finish(run, plan, place)
                if result is None:
                    failed.append(run.cell.name)
                progress.tell(run.cell, result, plan.endpoint, _folder(run.cell, place))
    finally:
        _stop(running, place)
        signal.signal(signal.SIGTERM, before)
    return failed


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _folder(cell: Cell, place: Workplace) -> Path:
    return place.runs / cell.arm / str(cell.seed)


def _start(cell: Cell, place: Workplace) -> _Running:
    folder = _folder(cell, place)
    _forget_other(folder, cell)
    command = [*PROGRAM, *cell.settings, f"hydra.run.dir={folder}", "ckpt=auto"]
    threads = str(place.threads)
    env = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    with open(folder / "study.log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env)
    return _Running(cell, process, time.monotonic(), _seconds(folder))


def _forget_other(folder: Path, cell: Cell) -> None:
    """Refuse a folder that holds a run of other settings; mark a new one as this cell's.

    Raises:
        UserError: The folder holds another run, or cannot be written.
    """
    mark = folder / "cell.json"
    if mark.is_file():
        with suppress(OSError, ValueError):
            if json.loads(mark.read_text()).get("hash") == cell.hash:
                return
        raise UserError(f"{folder}: holds a run of other settings; remove it, or choose another folder by runs=DIR")
    write_file(mark, json.dumps({"hash": cell.hash, "settings": cell.settings}, indent=1) + "\n")


def _finish(run: _Running, plan: Plan, place: Workplace) -> Result | None:
    folder = _folder(run.cell, place)
    seconds = round(_note_time(run, folder), 1)
    outcome = read_outcome(folder)
    if run.process.returncode != 0 or outcome is None or outcome.state != "finished":
        return None
    try:
        metrics, curve = read_metrics(folder, plan.endpoint)
    except UserError:
        return None
    cell = run.cell
    versions = {"clusterseg": version("clusterseg"), "torch": torch.__version__}
    result = Result(
        cell.arm, cell.seed, cell.hash, cell.settings, metrics, curve, curve[-1][0], seconds, place.threads, versions
    )
    result.write(place.out)
    return result


def _stop(running: Sequence[_Running], place: Workplace) -> None:
    """End what still runs; a run writes its last checkpoint at SIGTERM."""
    for run in running:
        with suppress(ProcessLookupError):
            run.process.send_signal(signal.SIGTERM)
    for run in running:
        try:
            run.process.wait(60)
        except subprocess.TimeoutExpired:
            run.process.kill()
            run.process.wait()
        with suppress(UserError):
            _note_time(run, _folder(run.cell, place))


def _note_time(run: _Running, folder: Path) -> float:
    seconds = run.before + time.monotonic() - run.started
    write_file(folder / _CLOCK, json.dumps(seconds))
    return seconds


def _seconds(folder: Path) -> float:
    """Seconds that earlier parts of a run took; what a killed queue did not note is lost."""
    try:
        return float(json.loads((folder / _CLOCK).read_text()))
    except (OSError, ValueError, TypeError):
        return 0.0


class _Progress:
    """One line a run, with the time left at the pace so far."""

    def __init__(self, console: Console, count: int) -> None:
        self.console, self.count, self.done = console, count, 0
        self.start = time.monotonic()

    def tell(self, cell: Cell, result: Result | None, endpoint: str, folder: Path) -> None:
        self.done += 1
        left = (time.monotonic() - self.start) / self.done * (self.count - self.done)
        what = f"failed; see {folder / 'study.log'}" if result is None else f"{endpoint} {result.metrics[endpoint]:.4f}"
        hours = f"{int(left // 3600)}:{int(left % 3600 // 60):02d} h left"
        self.console.print(f"{self.done}/{self.count}  {cell.name}  {what}  {hours}", highlight=False)
