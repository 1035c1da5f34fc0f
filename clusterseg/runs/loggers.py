"""Loggers: metrics.csv in the run folder, tensorboard."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.csv_logs import _ExperimentWriter
from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.errors import UserError
from clusterseg.files import replacing


class _ResumableWriter(_ExperimentWriter):
    """Appends to the metrics.csv of an earlier part of the same run instead of deleting it."""

    def _check_log_dir_exists(self) -> None:
        if os.path.isfile(self.metrics_file_path):
            with open(self.metrics_file_path, newline="") as file:
                self.metrics_keys = list(csv.DictReader(file).fieldnames or [])

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._rewrite(fieldnames)

    def drop_from(self, step: int) -> None:
        """Drop rows at or after `step`: a resumed run writes them again."""
        if step == 0:
            Path(self.metrics_file_path).unlink(missing_ok=True)
            self.metrics_keys = []
        elif os.path.isfile(self.metrics_file_path):
            self._rewrite(self.metrics_keys, before=step)

    def _rewrite(self, fieldnames: list[str], before: int | None = None) -> None:
        with open(self.metrics_file_path, newline="") as file:
            whole = [row for row in csv.DictReader(file) if None not in row.values()]  # a kill may cut the last one
        rows = [row for row in whole if before is None or int(row["step"]) < before]
        with replacing(Path(self.metrics_file_path)) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=fieldnames)
            writer.writeheader()
            writer.writerows(rows)


class CsvLogger(CSVLogger):
    """Writes `metrics.csv` straight into the run folder.

    Args:
        save_dir: The run folder.
        flush_logs_every_n_steps: Steps between writes.
    """

    def __init__(self, save_dir: str | Path, flush_logs_every_n_steps: int = 50) -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps)
        self._newest = ""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer, which preserves the rows written before the run was resumed."""
        if self._experiment is None:
            os.makedirs(self.log_dir, exist_ok=True)
            self._experiment = _ResumableWriter(self.log_dir)
        return self._experiment

    @rank_zero_only
    def log_hyperparams(self, params: Any = None, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run folder holds the configuration."""

    @rank_zero_only
    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Add a row; an identical row right after it is skipped (`LastCheckpoint` logs a row early)."""
        row = repr((step, metrics))
        if row != self._newest:
            self._newest = row
            super().log_metrics(metrics, step)

    @rank_zero_only
    def start_at(self, step: int) -> None:
        """Drop rows at or after `step`; a new run in an old folder drops all rows of the old run."""
        self.experiment.drop_from(step)


def tensorboard_logger(save_dir: str | Path) -> TensorBoardLogger:
    """A tensorboard logger under the run folder.

    Raises:
        UserError: tensorboard is not installed.
    """
    try:
        return TensorBoardLogger(save_dir=save_dir, name="", version="tensorboard", default_hp_metric=False)
    except ModuleNotFoundError:
        raise UserError(
            "logger=tensorboard: tensorboard is not installed; pip install 'clusterseg[tensorboard]'"
        ) from None
