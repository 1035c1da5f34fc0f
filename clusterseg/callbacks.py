"""What a person sees while a run goes on."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, RichProgressBar
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from clusterseg.distributed import gather_objects


class Throughput(Callback):
    """Logs ``train/scans_per_second`` over all ranks, validation left out."""

    def __init__(self) -> None:
        self._scans = 0
        self._seconds = 0.0
        self._start = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin to count at the first batch."""
        self._start = self._start or time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop counting during validation."""
        self._scans, self._seconds, self._start = 0, 0.0, 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch; a running mean since the last validation."""
        self._scans += batch.num_scans * trainer.world_size
        speed = self._scans / max(time.perf_counter() - self._start, 1e-9)
        pl_module.log("train/scans_per_second", speed, prog_bar=True, batch_size=1, rank_zero_only=False)


class LastCheckpoint(Callback):
    """Writes ``checkpoints/last.ckpt``, from which a run can be resumed exactly.

    It is written after each validation, after each epoch without one, at the last step, and every ``every_n_steps``.
    (Not at Lightning's end of an epoch: a state from there counts the epoch twice where ``max_steps`` is set.)

    Args:
        folder: Where ``last.ckpt`` goes.
        every_n_steps: Optimiser steps between two more writes, or None.
    """

    def __init__(self, folder: Path, every_n_steps: int | None = None) -> None:
        self.path = folder / "last.ckpt"
        self.every_n_steps = every_n_steps
        self._step = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write in the middle of an epoch, at its end, or at the last step, if it is time."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        due = stepped and self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0
        unvalidated = trainer.is_last_batch and not _validates(trainer)
        if due or unvalidated or trainer.global_step == trainer.max_steps:
            trainer.save_checkpoint(self.path)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write after a validation during training."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)


def _validates(trainer: pl.Trainer) -> bool:
    """Whether this epoch ends with a validation."""
    every = trainer.check_val_every_n_epoch
    return trainer.enable_validation and (every is None or (trainer.current_epoch + 1) % every == 0)


class RandomStates(Callback):
    """Keeps the random states of all ranks in the checkpoint, so that a resumed run draws the same numbers.

    A run resumed on another number of ranks starts from its seed instead.
    """

    def __init__(self) -> None:
        self._restored: list[dict[str, Tensor]] = []

    def state_dict(self) -> dict[str, Any]:
        """The state of every rank's generators."""
        state = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        return {"ranks": gather_objects(state)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the states until training starts."""
        self._restored = state_dict["ranks"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore this rank's states."""
        if len(self._restored) == trainer.world_size:
            mine = self._restored[trainer.global_rank]
            torch.set_rng_state(mine["cpu"].cpu())
            if "cuda" in mine and torch.cuda.is_available():
                torch.cuda.set_rng_state(mine["cuda"].cpu())
        self._restored = []


class LineProgress(Callback):
    """One line now and then, for logs and pipes where a bar would only be noise.

    Args:
        seconds: Least time between two lines.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._last = -float("inf")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print loss, mIoU and speed if it is time."""
        if time.monotonic() - self._last >= self.seconds or trainer.is_last_batch:
            self._last = time.monotonic()
            self._print(trainer, f"batch {batch_idx + 1}/{trainer.num_training_batches}", "train/")

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Say how far the validation is, if it is time."""
        if time.monotonic() - self._last >= self.seconds:
            self._last = time.monotonic()
            self._print(trainer, f"validating, batch {batch_idx + 1}/{sum(trainer.num_val_batches)}", "")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the scores."""
        self._print(trainer, "validated", "val/")

    @rank_zero_only
    def _print(self, trainer: pl.Trainer, what: str, prefix: str) -> None:
        shown = {"train/loss", "train/miou_present", "train/scans_per_second", "val/miou", "val/miou_present"}
        metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
        values = "  ".join(f"{k} {v:.4g}" for k, v in metrics.items() if k in shown and prefix and k.startswith(prefix))
        print(f"epoch {trainer.current_epoch} step {trainer.global_step} {what}  {values}", flush=True)


def progress() -> Callback:
    """A bar on a terminal, lines elsewhere."""
    return RichProgressBar() if sys.stdout.isatty() else LineProgress()
