"""The end of a sweep: its failed runs, its table and its plot."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, read_write

from clusterseg.errors import UserError
from clusterseg.runs.outcome import FILE, Outcome, read_outcome

GRACE = 5.0  # seconds for the other ranks of a job to end by themselves
log = logging.getLogger("clusterseg")


class Sweep(Callback):
    """Remembers which sweep this process runs; Hydra makes it from `hydra.callbacks`.

    It does no more by itself, for Hydra's own call at the end of a sweep does not come where a launcher or a sweeper
    fails, and turns errors into warnings.

    Args:
        summary: Whether the sweep ends with the table of its runs.
    """

    current: ClassVar[Sweep | None] = None

    def __init__(self, summary: bool) -> None:
        self.summary = summary
        self.folder = Path()
        self.earlier: dict[Path, int] = {}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the sweep."""
        self.folder = Path(config.hydra.sweep.dir)
        self.earlier = _outcomes(self.folder)
        Sweep.current = self

    def failures(self) -> list[str]:
        """What the runs told that failed since the sweep began, one message each."""
        new = [path.parent for path, time in _outcomes(self.folder).items() if self.earlier.get(path) != time]
        told = [(run, read_outcome(run)) for run in sorted(new, key=lambda run: int(run.name))]
        return [f"{run}: {outcome.message}" for run, outcome in told if outcome and outcome.state == "failed"]


def _outcomes(folder: Path) -> dict[Path, int]:
    """The outcomes in a sweep's folder, with the times of their writing: it may be an earlier sweep's folder too."""
    return {path: path.stat().st_mtime_ns for path in folder.glob(f"*/{FILE}") if path.parent.name.isdigit()}


def objective(config: DictConfig, result: Any) -> Any:
    """What a job returns to the sweeper: the metric that `optimize` names, or None where it has no finite value."""
    if "optimize" not in config or not isinstance(result, dict):
        return result
    value = result.get(config.optimize)
    return value if value is not None and math.isfinite(value) else None


@contextmanager
def one_job(folder: Path, program: Sequence[str]) -> Iterator[None]:
    """Keep a job to itself, where it has several ranks (`trainer=ddp`): where it fails, none of them is left.

    In a sweep the command line is meanwhile that of the job alone: with it Lightning starts the other ranks, which
    would begin the whole sweep anew. Afterwards these ranks, the process group and the variables that tell of it are
    gone: the next job's are others.
    """
    hydra: Any = HydraConfig.get()
    if hydra.mode is not RunMode.MULTIRUN:
        try:
            yield
        except BaseException:
            _end_ranks()
            raise
        return
    argv, environ = sys.argv, dict(os.environ)
    own = [f'hydra.sweep.dir="{hydra.sweep.dir}"', f"hydra.job.num={hydra.job.num}", "hydra.mode=RUN"]
    sys.argv = [*program, *hydra.overrides.task, *hydra.overrides.hydra, *own]
    with read_write(hydra):
        hydra.run.dir = str(folder)
    try:
        yield
    finally:
        sys.argv = argv
        for name in set(os.environ) - set(environ):
            del os.environ[name]
        os.environ.update(environ)
        if "torch.distributed" in sys.modules:  # else nothing has been started, and importing it takes a second
            from clusterseg.distributed import end_process_group

            end_process_group()
        _end_ranks()


def _end_ranks() -> None:
    """End the ranks that Lightning has started; they may wait for this one for ever.

    Lightning's observer of them is stopped first: at a rank that failed it would kill this process, and the sweep.
    """
    launcher = sys.modules.get("lightning_fabric.strategies.launchers.subprocess_script")
    if launcher is None:
        return
    observer: type = launcher._ChildProcessObserver
    for thread in threading.enumerate():
        if isinstance(thread, observer):
            ranks = [*thread._child_processes]  # type: ignore[attr-defined]
            thread._child_processes.clear()  # type: ignore[attr-defined]
            for process in ranks:
                try:
                    process.wait(GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def record_failure(folder: Path, error: Exception, message: str | None) -> bool:
    """Keep in a job's folder why it failed.

    Args:
        folder: Where the job writes.
        error: What was raised.
        message: For the user; None for a bug.

    Returns:
        Whether the job is one of a sweep: then it is logged here, a bug with its traceback, and `ending_sweep` tells.
    """
    if HydraConfig.get().output_subdir is None:  # a command without a folder of its own
        return False
    with suppress(UserError):
        Outcome("failed", message or f"{type(error).__name__}: {error}").write(folder)
    if HydraConfig.get().mode is not RunMode.MULTIRUN:
        return False
    log.error("%s", message or "the run failed", exc_info=message is None)
    return True


@contextmanager
def ending_sweep(mistakes: list[str]) -> Iterator[None]:
    """If a sweep runs meanwhile: afterwards, also if it is interrupted, print its table and add its failed runs.

    Jobs may run in other processes or on other machines, so what became of them is read from their folders.
    """
    Sweep.current = None
    try:
        yield
    finally:
        if Sweep.current is not None:
            mistakes += Sweep.current.failures()
            if Sweep.current.summary and any(Sweep.current.folder.glob("[0-9]*")):
                _print_summary(Sweep.current.folder)


def _print_summary(folder: Path) -> None:
    from clusterseg.sweeps.summary import print_summary, summarise  # matplotlib, which a single run does not need

    try:
        print_summary(summarise([str(folder)]), folder)
    except UserError as error:  # such as a full disk
        log.warning("no table of this sweep: %s", error)
