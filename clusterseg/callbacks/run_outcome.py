"""Record in the run folder how the training ended."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from clusterseg.runs.outcome import Outcome, forget_outcome


class RunOutcome(Callback):
    """Writes `outcome.json` when the training ends; a killed run leaves none.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the outcome of an earlier part of the run."""
        if trainer.is_global_zero:
            forget_outcome(self.folder)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write whether the training ran as long as planned."""
        if trainer.is_global_zero:
            state = "finished" if _planned_end(trainer) else "stopped"
            Outcome(state, f"at step {trainer.global_step}").write(self.folder)


def _planned_end(trainer: pl.Trainer) -> bool:
    epochs, steps = trainer.max_epochs or -1, trainer.max_steps
    return (epochs > 0 and trainer.current_epoch >= epochs) or (steps > 0 and trainer.global_step >= steps)
