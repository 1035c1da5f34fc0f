"""The LightningModule of segmentation: a backbone, its losses, and an optional head for further losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from clusterseg.backbone import Backbone, BackboneOutput
from clusterseg.cluster.base import Head, as_output
from clusterseg.data.batch import Batch
from clusterseg.data.subjects import modes_of, things_of
from clusterseg.distributed import mean_over_ranks
from clusterseg.errors import UserError
from clusterseg.losses import CrossEntropy
from clusterseg.metrics import PointConfusion, Scores, scores
from clusterseg.optim import build_optimizer
from clusterseg.task.logged import is_logged

#: Inputs that a head may ask for, from the batch; `other` takes a second pass of the network.
ASKED: dict[str, Callable[[Batch], Tensor]] = {
    "scans": lambda batch: batch.coords[:, 0],
    "xyz": lambda batch: batch.feats[:, :3],
    "things": lambda batch: things_of(_subjects(batch)),
    "modes": lambda batch: modes_of(_subjects(batch)),
}


class SegmentationTask(pl.LightningModule):
    """Semantic segmentation of lidar scans.

    Losses are computed on voxels, scores on points. The head is used in training only.

    Args:
        backbone: The network.
        class_names: Names of the classes, by train id.
        losses: Supervised terms by name; each gives a weighted scalar from logits (voxels, classes) and targets
            (voxels,). None, as for the optimiser, if the task only evaluates.
        optimizer: Function that builds the optimiser from parameters.
        scheduler: Function that builds the schedule, stepped once per optimiser step, from an optimiser and
            `total_steps=`.
        cluster: The head, such as the within-class cluster head, or None for the baseline.
        config: The composed configuration, stored in each checkpoint.
        inputs: Input specification of the network as returned by `Inputs.plain`; stored in each checkpoint.
    """

    def __init__(
        self,
        backbone: Backbone,
        class_names: Sequence[str],
        losses: Mapping[str, Callable[[Tensor, Tensor], Tensor]] | None = None,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., LRScheduler] | None = None,
        cluster: Head | None = None,
        config: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.losses = dict(losses or {})
        for loss in self.losses.values():
            if isinstance(loss, CrossEntropy):
                loss.bind(class_names)
        self.cluster = cluster
        self.class_names = tuple(class_names)
        self.train_confusion = PointConfusion(len(class_names))
        self.val_confusion = PointConfusion(len(class_names))
        self.terms: dict[str, Tensor] = {}
        if cluster is not None:
            self._ddp_params_and_buffers_to_ignore = [f"cluster.{name}" for name in cluster.same_on_all_ranks()]
        self._optimizer, self._scheduler = optimizer, scheduler
        self.lr_factor = 1.0
        self.stored_config = dict(config or {})
        self._inputs = dict(inputs or {})

    def forward(self, batch: Batch) -> BackboneOutput:
        """Predict the voxels of a batch."""
        output: BackboneOutput = self.backbone(batch.feats.to(self.dtype), batch.coords)
        return output

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the sum of the supervised terms and, if there is a head, of its terms.

        Each term, and the head's statistics, are logged in logged steps only.
        """
        output = self(batch)
        predictions = output.logits.detach().argmax(1)
        terms, stats = self.loss_terms(output, batch.targets, predictions, self._asked(batch, output))
        self.terms = {name: term.detach() for name, term in terms.items()}
        total = torch.stack([term.float() for term in terms.values()]).sum()
        means = self._over_ranks({"train/loss": total} | {f"train/loss_{name}": term for name, term in terms.items()})
        self.log("train/loss", means.pop("train/loss"), prog_bar=True, batch_size=1)
        if is_logged(self.trainer):
            self.log_dict(means | {f"cluster/{name}": value for name, value in stats.items()}, batch_size=1)
        self.train_confusion.update(predictions[batch.inverse_map], batch.point_targets)
        running = scores(self.train_confusion.confmat)
        self.log("train/miou_present", running.miou_present.float(), prog_bar=True, batch_size=batch.num_scans)
        return total

    def loss_terms(
        self,
        output: BackboneOutput,
        targets: Tensor,
        predictions: Tensor,
        asked: Mapping[str, Tensor] | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the weighted loss terms and the head's statistics; targets and predictions (voxels,).

        `asked` holds the further inputs that the head asks for.

        On several ranks the mean of each term over the ranks is that of the joint batch (Lovász: with `joint` only).
        """
        terms = {name: loss(output.logits, targets) for name, loss in self.losses.items()}
        if self.cluster is None:
            return terms, {}
        result = as_output(
            self.cluster, self.cluster(output.taps[self.cluster.tap], targets, predictions, **(asked or {}))
        )
        return {**terms, **result.losses}, dict(result.stats)

    def _asked(self, batch: Batch, output: BackboneOutput) -> dict[str, Tensor]:
        """Return the further inputs that the head asks for."""
        if self.cluster is None:
            return {}
        asked = {name: ASKED[name](batch) for name in sorted(self.cluster.asks - {"other"})}
        if "other" in self.cluster.asks:
            asked["other"] = self._second_view(batch, output.taps[self.cluster.tap])
        return asked

    def _second_view(self, batch: Batch, features: Tensor) -> Tensor:
        """Return the tapped features of each voxel in the second view; those of the first where it is not there."""
        assert self.cluster is not None
        assert batch.view_feats is not None, "the data was built without views"
        assert batch.view_coords is not None
        assert batch.view_rows is not None
        other = self.backbone(batch.view_feats.to(self.dtype), batch.view_coords).taps[self.cluster.tap]
        there = batch.view_rows >= 0
        return torch.where(there[:, None], other[batch.view_rows.clamp_min(0)], features)

    def _over_ranks(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Average each term over the ranks in one small message."""
        means = mean_over_ranks(torch.stack([term.detach().float() for term in terms.values()]))
        return dict(zip(terms, means.unbind(), strict=True))

    def on_train_epoch_end(self) -> None:
        """Reset the running scores of the epoch."""
        self.train_confusion.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count the points of a batch; return the predicted train id of every point."""
        output = self(batch)
        predictions = output.logits.argmax(1)[batch.inverse_map]
        self.val_confusion.update(predictions, batch.point_targets)
        return predictions

    def on_validation_epoch_end(self) -> None:
        """Log the scores over all points of all ranks."""
        for name, value in score_table(self.val_confusion.scores(), self.class_names).items():
            self.log(f"val/{name}", value, prog_bar=name == "miou", rank_zero_only=False, sync_dist=False)
        self.val_confusion.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimiser, with a schedule over the real number of optimiser steps."""
        optimizer, scheduler = self.build_optimizer(self._total_steps())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step", "name": "train/lr"},
        }

    def build_optimizer(self, total_steps: int) -> tuple[Optimizer, LRScheduler]:
        """Build the optimiser, its learning rates times `lr_factor`, and its schedule over a number of steps.

        Raises:
            UserError: A setting of the optimiser or the schedule is wrong.
        """
        if self._optimizer is None or self._scheduler is None:
            raise RuntimeError("this task was built without an optimiser, for evaluation only")
        try:
            optimizer = build_optimizer(self._optimizer, self.parameters())
            for group in optimizer.param_groups:
                group["lr"] *= self.lr_factor
            return optimizer, self._scheduler(optimizer, total_steps=total_steps)
        except (ValueError, TypeError) as error:
            raise UserError(f"optim: {error}; change this setting of optim.optimizer or optim.scheduler") from error

    def _total_steps(self) -> int:
        """Number of optimiser steps of the run.

        Counted here because Lightning's own estimate starts the loaders before a resumed run has restored them.
        """
        trainer = self.trainer
        data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning leaves it untyped
        batches = data.batches_per_epoch(trainer.world_size)
        limit = trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        steps = math.ceil(batches / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)
        limits = [count for count in (steps, trainer.max_steps) if count > 0]
        if not limits:
            raise UserError("trainer: max_epochs=-1 and max_steps=-1 have no end; set one of them")
        return min(limits)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the configuration and the running counts of the epoch in the checkpoint."""
        checkpoint["config"] = self.stored_config
        if self._inputs:
            checkpoint["inputs"] = self._inputs
        checkpoint["train_confusion"] = self.train_confusion.confmat

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the running counts of the epoch."""
        if "train_confusion" in checkpoint:
            self.train_confusion.confmat.copy_(checkpoint["train_confusion"])


def _subjects(batch: Batch) -> Tensor:
    assert batch.subjects is not None, "the data was built without subjects"
    return batch.subjects


def score_table(values: Scores, class_names: Sequence[str]) -> dict[str, Tensor]:
    """Return the scores by their logged names: miou, miou_present, accuracy, iou/<class>."""
    table = {"miou": values.miou, "miou_present": values.miou_present, "accuracy": values.accuracy}
    return table | {f"iou/{name}": iou for name, iou in zip(class_names, values.iou, strict=True)}
