"""Write the HTML page of a run when it ends."""

from __future__ import annotations

import logging
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from clusterseg.viz.runs import METRICS, write_runs

log = logging.getLogger("clusterseg")


class Dashboard(Callback):
    """Writes `dashboard.html` from `metrics.csv` into the run folder; a failure is only logged.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the page, on rank 0."""
        if not trainer.is_global_zero or not (self.folder / METRICS).is_file():
            return
        try:
            log.info("dashboard: %s", write_runs([self.folder]))
        except Exception as error:  # a failed page must not fail the run
            log.warning("no dashboard (%s); later: clusterseg dashboard %s", error, self.folder)
