"""Report at the end of a sweep: its failed runs, its table and its plot."""

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

GRACE = 5.0  # seconds for the other ranks of a job to end on their own
log = logging.getLogger("clusterseg")


class Sweep(Callback):
    """Stores which sweep this process runs; Hydra creates it from `hydra.callbacks`.

    It does not report the sweep itself: Hydra skips its call at the end of a sweep if a launcher or a sweeper fails,
    and turns errors into warnings. See `ending_sweep`.

    Args:
        summary: Whether the sweep ends with the table of its runs.
    """

    current: ClassVar[Sweep | None] = None

    def __init__(self, summary: bool) -> None:
        self.summary = summary
        self.folder = Path()
        self.earlier: dict[Path, int] = {}

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Store the sweep."""
        self.folder = Path(config.hydra.sweep.dir)
        self.earlier = _outcomes(self.folder)
        Sweep.current = self

    def failures(self) -> list[str]:
        """Return one message for each run that failed since the sweep began."""
        new = [path.parent for path, time in _outcomes(self.folder).items() if self.earlier.get(path) != time]
        outcomes = [(run, read_outcome(run)) for run in sorted(new, key=lambda run: int(run.name))]
        return [f"{run}: {outcome.message}" for run, outcome in outcomes if outcome and outcome.state == "failed"]


def _outcomes(folder: Path) -> dict[Path, int]:
    """Modification time of each outcome in a sweep's folder, which may hold outcomes of an earlier sweep too."""
    return {path: path.stat().st_mtime_ns for path in folder.glob(f"*/{FILE}") if path.parent.name.isdigit()}


def objective(config: DictConfig, result: Any) -> Any:
    """Return the sweeper's objective: the metric that `optimize` names, or None if it is not finite."""
    if "optimize" not in config or not isinstance(result, dict):
        return result
    value = result.get(config.optimize)
    return value if value is not None and math.isfinite(value) else None


@contextmanager
def one_job(folder: Path, program: Sequence[str]) -> Iterator[None]:
    """Isolate a job of several ranks (`trainer=ddp`) from the sweep; end all its ranks if it fails.

    In a sweep the command line is replaced by that of the single job: Lightning starts the other ranks with it, and
    they would otherwise start the whole sweep again. At the end the ranks, the process group and its environment
    variables are removed, so that the next job creates its own.
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
        if "torch.distributed" in sys.modules:  # otherwise nothing was started, and the import takes a second
            from clusterseg.distributed import end_process_group

            end_process_group()
        _end_ranks()


def _end_ranks() -> None:
    """End the ranks that Lightning has started; they may wait for this one forever.

    Lightning's observer thread is stopped first: it would kill this process, and the sweep, when a rank fails.
    """
    launcher = sys.modules.get("lightning_fabric.strategies.launchers.subprocess_script")
    if launcher is None:
        return
    observer: type = launcher._ChildProcessObserver
    for thread in threading.enumerate():
        if isinstance(thread, observer):
            ranks = [*thread._child_processes]  # type: ignore[attr-defined]  # of Lightning's observer
            thread._child_processes.clear()  # type: ignore[attr-defined]  # of Lightning's observer
            for process in ranks:
                try:
                    process.wait(GRACE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def record_failure(folder: Path, error: Exception, message: str | None) -> bool:
    """Write into a job's folder why it failed.

    Args:
        folder: The job's folder.
        error: The exception.
        message: The message for the user; None for a bug.

    Returns:
        Whether the job belongs to a sweep. If so, the failure is logged here, a bug with its traceback, and
        `ending_sweep` reports it.
    """
    if HydraConfig.get().output_subdir is None:  # a command without its own folder
        return False
    with suppress(UserError):
        Outcome("failed", message or f"{type(error).__name__}: {error}").write(folder)
    if HydraConfig.get().mode is not RunMode.MULTIRUN:
        return False
    log.error("%s", message or "the run failed", exc_info=message is None)
    return True


@contextmanager
def ending_sweep(mistakes: list[str]) -> Iterator[None]:
    """Print the table and the failed runs of a sweep at its end, also if it is interrupted.

    Jobs may run in other processes or on other machines, so their outcomes are read from their folders.
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
    from clusterseg.sweeps.summary import (
        print_summary,
        summarise,
    )  # imports matplotlib, which a single run does not need

    try:
        print_summary(summarise([str(folder)]), folder)
    except UserError as error:  # such as a full disk
        log.warning("no table of this sweep: %s", error)
