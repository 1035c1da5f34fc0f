"""Prune the trials of a sweep that are not promising."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from clusterseg.errors import UserError
from clusterseg.runs.outcome import Outcome
from clusterseg.sweeps.optuna import Direction, open_study

log = logging.getLogger("clusterseg")


class Pruning(Callback):
    """Reports each validation to the trial of an Optuna study, and ends the training when the pruner decides so.

    The number of the trial is the number of the job (see `hydra_plugins.clusterseg_optuna`). The training ends as it
    does at its last step, so that checkpoints and metrics of a pruned run are complete. This callback sets the
    trial's state PRUNED, with the last reported score as its value. The sweeper sees only the return value of a job
    and skips trials that have already ended.

    Args:
        folder: The run folder.
        storage: See `clusterseg.sweeps.optuna.open_study`.
        trial: Number of the trial.
        monitor: The metric that the sweep optimises.
        direction: `maximize` or `minimize`.
        pruner: An Optuna pruner.
    """

    def __init__(self, folder: Path, storage: str, trial: int, monitor: str, direction: Direction, pruner: Any) -> None:
        self.folder, self.storage, self.trial, self.monitor = folder, storage, trial, monitor
        self.direction, self.pruner = direction, pruner
        self._pruned_at: int | None = None

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the score; rank 0 decides for all."""
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        prune = trainer.is_global_zero and self._report(trainer)
        if trainer.strategy.reduce_boolean_decision(prune, all=False):
            self._pruned_at = trainer.global_step
            trainer.should_stop = True

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record in the study and in the run folder that the trial was pruned."""
        if self._pruned_at is None or not trainer.is_global_zero:
            return
        from optuna.trial import TrialState

        open_study(self.storage, self.direction).tell(self.trial, state=TrialState.PRUNED)
        Outcome("pruned", f"at step {self._pruned_at}").write(self.folder)

    def _report(self, trainer: pl.Trainer) -> bool:
        """Report the score; return whether to prune the trial after this validation."""
        from optuna.trial import Trial

        if self.monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(key for key in trainer.callback_metrics if key.startswith("val/")))
            raise UserError(f"optimize={self.monitor}: the validation logs no such metric; expected one of {known}")
        study = open_study(self.storage, self.direction, pruner=self.pruner)
        trial = Trial(study, study.get_trials(deepcopy=False)[self.trial]._trial_id)
        score = float(trainer.callback_metrics[self.monitor])
        trial.report(score, step=trainer.global_step)
        prune = trial.should_prune()
        if prune:
            log.info("pruned at step %d: %s %.4f", trainer.global_step, self.monitor, score)
        return prune
