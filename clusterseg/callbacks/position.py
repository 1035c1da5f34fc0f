"""Position of a resumed run in its epoch, counted in batches of the current size."""

from __future__ import annotations

import logging

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.data.loader import TrainLoader

log = logging.getLogger("clusterseg")


class EpochPosition(Callback):
    """Ends an epoch after its last scan when it is resumed with another batch size or number of ranks.

    The loader continues after the scans already used (see `TrainLoader`). Lightning counts batches instead and would
    miss the end of the epoch: no validation, no best checkpoint.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the number of batches done so that the remaining ones end the epoch."""
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
            for name in ("ready", "started", "processed", "completed"):  # the last may be one behind, and must stay so
                setattr(progress, name, getattr(progress, name) + by)
            rank_zero_only(log.info)(
                "resuming in batches of another size: epoch %d goes on after the %d scans that it has had",
                trainer.current_epoch,
                loader.scans_before,
            )
