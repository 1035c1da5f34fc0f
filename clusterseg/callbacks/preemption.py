"""End a run on SIGTERM, or on the SIGUSR1 that SLURM can send before a time limit."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from clusterseg.callbacks.resume import LastCheckpoint
from clusterseg.distributed import any_rank

log = logging.getLogger("clusterseg")
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class Preempted(SystemExit):
    """Exit after a signal; the exit status is 128 + the signal's number."""


class Preemption(Callback):
    """Ends a run at the next optimiser step after a signal, with `last.ckpt` written, on all ranks alike.

    One rank that got the signal is enough. A signal during a validation ends the run at once: `LastCheckpoint` wrote
    one step before it, and the resumed run takes that step and validates.

    Args:
        folder: The run folder.
        requeue: Whether to put the SLURM job back into its queue after SIGUSR1. The command then needs
            `ckpt=auto` and a fixed `hydra.run.dir`.
    """

    def __init__(self, folder: Path, requeue: bool = False) -> None:
        self.folder = folder
        self.requeue = requeue
        self._received = 0
        self._step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the signal handlers; Lightning restores the previous ones at the end of the run."""
        self._step = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self._received = number

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and exit after an optimiser step if any rank got a signal."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if stepped and any_rank(bool(self._received), pl_module.device):
            for last in _last_checkpoints(trainer):
                last.save_step(trainer)
            self._end(trainer)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Exit during a validation. Ranks may differ in its length, so the first rank with a signal ends all."""
        if self._received and trainer.state.fn == "fit":
            self._end(trainer)

    def _end(self, trainer: pl.Trainer) -> None:
        name = signal.Signals(self._received).name if self._received else "a signal on another rank"
        if trainer.is_global_zero:
            resume = f"; to resume from there, add ckpt=last hydra.run.dir={self.folder} to the command"
            hint = resume if _last_checkpoints(trainer) else ""
            log.warning("%s: the run ends at step %d%s", name, trainer.global_step, hint)
            if self.requeue and self._received == signal.SIGUSR1:
                requeue_job()
        raise Preempted(128 + (self._received or signal.SIGTERM))


def _last_checkpoints(trainer: pl.Trainer) -> list[LastCheckpoint]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning leaves it untyped
    return [callback for callback in callbacks if isinstance(callback, LastCheckpoint)]


def requeue_job() -> None:
    """Requeue this SLURM job; a failure is logged and loses no checkpoint."""
    job = os.environ.get("SLURM_JOB_ID", "")
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        job = f"{array}_{task}"
    if not job:
        log.warning("requeue: SLURM_JOB_ID is not set, so this is no SLURM job")
        return
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("SLURM job %s could not be put back into the queue: %s", job, error)
    else:
        log.info("SLURM job %s is back in the queue", job)
