"""Stop or skip a training step whose loss or gradient is NaN or infinite."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from clusterseg.callbacks.gradient_norm import gradient_norm
from clusterseg.distributed import gather_objects
from clusterseg.errors import UserError
from clusterseg.task import SegmentationTask

#: The scans and the loss terms of each batch of an optimiser step.
Seen = list[tuple[tuple[str, ...], dict[str, Tensor]]]
log = logging.getLogger("clusterseg")


class FiniteLoss(Callback):
    """Stops at a step that is not finite, or skips it before the weights change; all ranks decide alike.

    The loss terms and the gradient's norm are checked after the backward pass and before the optimiser. The check
    reads one number from the device per step; the kernel maps of the next step synchronise anyway. In a skipped step
    all gradients are None, so that any optimiser leaves its weights and moments unchanged. Buffers that the forward
    pass changed (running statistics, centres, bank) are restored. The schedule still advances.
    With float16 the gradient scaler checks the gradient and skips steps itself; only the loss is checked here.

    Args:
        on_nan: `stop` or `skip`.
        most_in_a_row: Number of consecutive skipped steps that stops the run.
    """

    def __init__(self, on_nan: str = "stop", most_in_a_row: int = 10) -> None:
        self.skip = on_nan == "skip"
        self.most_in_a_row = most_in_a_row
        self.skipped = 0
        self.in_a_row = 0
        self._scan_ids: tuple[str, ...] = ()
        self._seen: Seen = []
        self._copies: list[Tensor] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Copy the buffers at the first batch of each optimiser step."""
        self._scan_ids = batch.scan_ids
        if self.skip and not self._seen:
            buffers = list(pl_module.buffers())
            if not self._copies:
                self._copies = [buffer.clone() for buffer in buffers]
            for copy, buffer in zip(self._copies, buffers, strict=True):
                copy.copy_(buffer)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Store the loss terms of each batch of an optimiser step."""
        assert isinstance(pl_module, SegmentationTask)
        self._seen.append((self._scan_ids, pl_module.terms))

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Stop, or drop the gradients and restore the buffers, if a value on any rank is not finite.

        Raises:
            UserError: `on_nan` is `stop`, or too many consecutive steps were skipped.
        """
        gradient = None if _has_scaler(trainer) else gradient_norm(pl_module.parameters())
        seen, self._seen = self._seen, []
        if not trainer.strategy.reduce_boolean_decision(not _finite(seen, gradient), all=False):
            self.in_a_row = 0
            return
        by_rank = gather_objects(_bad_terms(seen))
        if not any(by_rank):
            by_rank = gather_objects(_bad_gradient(seen, gradient))
        message = _describe(trainer.global_step, by_rank)
        if not self.skip:
            raise UserError(f"{message}; {REMEDY}, or leave such steps out: on_nan=skip")
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        if self.in_a_row >= self.most_in_a_row:
            raise UserError(f"{message}; it was so in the last {self.in_a_row} steps; {REMEDY}")
        self._leave_out(pl_module)
        if trainer.is_global_zero:
            log.warning("%s; the step is left out (%d in this run, %d in a row)", message, self.skipped, self.in_a_row)
        pl_module.log("train/skipped_steps", float(self.skipped), batch_size=1, rank_zero_only=False)

    @torch.no_grad()
    def _leave_out(self, pl_module: pl.LightningModule) -> None:
        for parameter in pl_module.parameters():
            parameter.grad = None
        for buffer, copy in zip(pl_module.buffers(), self._copies, strict=True):
            buffer.copy_(copy)

    def state_dict(self) -> dict[str, Any]:
        """Return the counts of skipped steps, for a resumed run."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts."""
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]


REMEDY = "lower optim.optimizer.lr, clip by trainer.gradient_clip_val=1, or use trainer.precision=32-true"


def _has_scaler(trainer: pl.Trainer) -> bool:
    return getattr(trainer.precision_plugin, "scaler", None) is not None


def _finite(seen: Seen, gradient: Tensor | None) -> bool:
    values = [term.float() for _, terms in seen for term in terms.values()]
    if gradient is not None:
        values.append(gradient.to(values[0].device))
    return bool(torch.stack(values).isfinite().all())


def _bad_terms(seen: Seen) -> list[str]:
    """Describe the loss terms that are not finite on this rank."""
    found = []
    for scans, terms in seen:
        bad = [f"{name} is {float(term)}" for name, term in terms.items() if not term.isfinite()]
        if bad:
            found.append(f"{', '.join(bad)} on scans {', '.join(scans)}")
    return found


def _bad_gradient(seen: Seen, gradient: Tensor | None) -> list[str]:
    scans = ", ".join(scan for scan_ids, _ in seen for scan in scan_ids)
    return [] if gradient is None else [f"the norm of the gradient is {float(gradient)} after scans {scans}"]


def _describe(step: int, by_rank: list[list[str]]) -> str:
    many = len(by_rank) > 1
    parts = [f"rank {rank}: {part}" if many else part for rank, found in enumerate(by_rank) for part in found]
    return f"step {step} is not finite: {'; '.join(parts)}"
