"""State of a resumed run: its last checkpoint and the random states."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from pydantic import Field
from pytorch_lightning.callbacks import Callback, Checkpoint
from torch import Tensor

from clusterseg.config.signatures import checked
from clusterseg.distributed import gather_objects
from clusterseg.files import link_or_copy, replacing, temporary_name
from clusterseg.runs.checkpoint import PREVIOUS


@checked("callbacks.last")
class LastCheckpoint(Checkpoint):
    """Writes `checkpoints/last.ckpt`, from which a run can be resumed exactly.

    It is written after each validation, after each epoch without one, at the last step, at the last step but one of an
    epoch that ends with a validation, and every `every_n_steps`. The checkpoint before it stays as `previous.ckpt`.
    Partial files of a killed run are removed. (As a `Checkpoint` it runs after the one that saves the best, and so
    stores its state.)

    Args:
        folder: The run folder.
        every_n_steps: Optimiser steps between additional checkpoints, or None.
    """

    def __init__(self, folder: Path, every_n_steps: Annotated[int, Field(ge=1)] | None = None) -> None:
        self.path = folder / "checkpoints" / "last.ckpt"
        self.every_n_steps = every_n_steps
        self._step = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove partial files of a killed run."""
        self._step = trainer.global_step
        if trainer.is_global_zero:
            for half in self.path.parent.glob(temporary_name("*.ckpt", "*")):
                half.unlink(missing_ok=True)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write within an epoch, at its end, or at the last step, if due."""
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        interval = self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0
        left = trainer.num_training_batches - (batch_idx + 1)
        nearly = 0 < left <= trainer.accumulate_grad_batches and _validates(trainer)
        last = left == 0 or trainer.global_step == trainer.max_steps
        if stepped and (interval or nearly or last):
            self.save_step(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write after a validation during training."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer)

    def save_step(self, trainer: pl.Trainer) -> None:
        """Write at the end of a training batch, on all ranks together, with its logged metrics.

        Nothing is written right before a validation: a run resumed from there would skip it.
        """
        loop = trainer.fit_loop
        assert loop._data_fetcher is not None
        if not loop.epoch_loop._should_check_val_fx(loop._data_fetcher):
            # Lightning logs the batch only after this hook; a run killed in between would lose the row.
            trainer._logger_connector.update_train_step_metrics()
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint; a complete one exists at every moment."""
        if trainer.is_global_zero and self.path.is_file():
            with replacing(self.path.with_name(PREVIOUS)) as temporary:
                link_or_copy(self.path, temporary)
        trainer.save_checkpoint(self.path)


def _validates(trainer: pl.Trainer) -> bool:
    """Whether this epoch ends with a validation."""
    every = trainer.check_val_every_n_epoch
    return trainer.enable_validation and (every is None or (trainer.current_epoch + 1) % every == 0)


class RandomStates(Callback):
    """Stores the random states of all ranks in the checkpoint, so that a resumed run draws the same numbers.

    Each rank starts from the seed of the run plus its rank, so that no two drop the same features. A run resumed on
    another number of ranks is seeded again in this way.
    """

    def __init__(self) -> None:
        self._restored: list[dict[str, Tensor]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the generator states of every rank."""
        state = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        return {"ranks": gather_objects(state)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Store the states until training starts."""
        self._restored = state_dict["ranks"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore this rank's states, or seed it."""
        if len(self._restored) == trainer.world_size:
            mine = self._restored[trainer.global_rank]
            torch.set_rng_state(mine["cpu"].cpu())
            if "cuda" in mine and torch.cuda.is_available():
                torch.cuda.set_rng_state(mine["cuda"].cpu())
        elif trainer.global_rank > 0:
            torch.manual_seed(torch.initial_seed() + trainer.global_rank)
        self._restored = []
