"""Progress display of a running training."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, RichProgressBar
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor


class Throughput(Callback):
    """Logs `train/scans_per_second` over all ranks, without validation time."""

    def __init__(self) -> None:
        self._scans = 0
        self._seconds = 0.0
        self._start = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start counting at the first batch."""
        self._start = self._start or time.perf_counter()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop counting during validation."""
        self._scans, self._seconds, self._start = 0, 0.0, 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch and log the mean speed since the last validation."""
        self._scans += batch.num_scans * trainer.world_size
        speed = self._scans / max(time.perf_counter() - self._start, 1e-9)
        pl_module.log("train/scans_per_second", speed, prog_bar=True, batch_size=1, rank_zero_only=False)


class LineProgress(Callback):
    """Prints a progress line at intervals, for logs and pipes.

    Args:
        seconds: Minimum seconds between two lines.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        self.seconds = seconds
        self._last = -float("inf")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print loss, its terms, mIoU and speed if the interval has passed."""
        if time.monotonic() - self._last >= self.seconds or trainer.is_last_batch:
            self._last = time.monotonic()
            what = f"batch {batch_idx + 1}/{trainer.num_training_batches}"
            self._print(trainer, what, "train/", getattr(pl_module, "terms", None))

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        """Print the progress of the validation if the interval has passed."""
        if time.monotonic() - self._last >= self.seconds:
            self._last = time.monotonic()
            verb = "validating" if _trains(trainer) else "evaluating"
            self._print(trainer, f"{verb}, batch {batch_idx + 1}/{sum(trainer.num_val_batches)}", "")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the scores of a training's validation."""
        if _trains(trainer):
            self._print(trainer, "validated", "val/")

    @rank_zero_only
    def _print(self, trainer: pl.Trainer, what: str, prefix: str, terms: Mapping[str, Tensor] | None = None) -> None:
        shown = {"train/loss", "train/miou_present", "train/scans_per_second", "val/miou", "val/miou_present"}
        metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
        values = {k: f"{v:.4g}" for k, v in metrics.items() if k in shown and prefix and k.startswith(prefix)}
        if "train/loss" in values and terms and len(terms) > 1:  # the terms are of this step and rank
            values["train/loss"] += f" ({', '.join(f'{name} {float(term):.3g}' for name, term in terms.items())})"
        line = "  ".join(f"{key} {value}" for key, value in values.items())
        where = f"epoch {trainer.current_epoch} step {trainer.global_step} " if _trains(trainer) else ""
        print(f"{where}{what}  {line}".rstrip(), flush=True)


def _trains(trainer: pl.Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING


def progress() -> Callback:
    """Return a progress bar on a terminal, line output elsewhere."""
    return RichProgressBar() if sys.stdout.isatty() else LineProgress()
