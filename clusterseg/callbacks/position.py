"""Where in its epoch a resumed run is, counted in batches of the size that it has now."""

from __future__ import annotations

import logging

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.data.loader import TrainLoader

log = logging.getLogger("clusterseg")


class EpochPosition(Callback):
    """Lets an epoch that is resumed with another batch size or number of ranks end after its last scan.

    The loader goes on after the scans that the run has had (see `TrainLoader`). Lightning counts batches instead, and
    would take the end for the middle: no validation, no best checkpoint.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the batches before as so many that those that are left end the epoch."""
        loader = trainer.train_dataloader
        if not isinstance(loader, TrainLoader) or not loader.scans_before:
            return
        progress = trainer.fit_loop.epoch_loop.batch_progress.current
        before = len(loader) - loader.batches_left
        if trainer.num_training_batches < len(loader):  # a limit counts batches
            before = max(before, progress.ready)
        assert loader.batch_size is not None
        if loader.scans_before != progress.ready * loader.batch_size * trainer.world_size:
            by = before - progress.ready
            for name in ("ready", "started", "processed", "completed"):  # the last may be one behind, and is to stay so
                setattr(progress, name, getattr(progress, name) + by)
            rank_zero_only(log.info)(
                "resuming in batches of another size: epoch %d goes on after the %d scans that it has had",
                trainer.current_epoch,
                loader.scans_before,
            )
