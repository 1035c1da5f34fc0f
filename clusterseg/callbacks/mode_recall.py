"""Recall of each known subclass at validation: whether the rare kinds of a class are found."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from clusterseg.data.batch import Batch
from clusterseg.data.subjects import modes_of
from clusterseg.distributed import gather_objects
from clusterseg.metrics import count_modes, mode_recall
from clusterseg.task import SegmentationTask


class ModeRecall(Callback):
    """Logs `val/mode_recall/<class>/<mode>` where the data set has known subclasses (streets), and nothing elsewhere.

    It is the share of the points of a subclass that get their class, over all points of the validation on all ranks;
    subclasses without a point are left out.
    """

    def __init__(self) -> None:
        self._counts: Tensor | None = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to count, if there are subclasses."""
        names = trainer.datamodule.reader.mode_names()  # type: ignore[attr-defined]  # Lightning leaves it untyped
        assert isinstance(pl_module, SegmentationTask)
        width = max((len(names.get(name, ())) for name in pl_module.class_names), default=0)
        self._counts = None
        if width:
            shape = (len(pl_module.class_names), width, 2)
            self._counts = torch.zeros(shape, dtype=torch.int64, device=pl_module.device)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int, *_: Any
    ) -> None:
        """Count the points of a batch."""
        if self._counts is not None and batch.point_subjects is not None:
            self._counts += count_modes(outputs, batch.point_targets, modes_of(batch.point_subjects), self._counts)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the recalls over all ranks."""
        if self._counts is None:
            return
        assert isinstance(pl_module, SegmentationTask)
        counts = torch.stack(gather_objects(self._counts.cpu())).sum(0)
        names = trainer.datamodule.reader.mode_names()  # type: ignore[attr-defined]  # Lightning leaves it untyped
        for name, modes in mode_recall(counts, pl_module.class_names, names).items():
            for mode, found in modes.items():
                key = f"val/mode_recall/{name}/{mode}"
                pl_module.log(key, found["recall"], rank_zero_only=False, sync_dist=False)
