"""A moving average of the weights, which is validated and kept in the checkpoints."""

from __future__ import annotations

from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from pydantic import Field
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn

from clusterseg.config.signatures import checked


def decay_at(updates: Int[Tensor, ""], decay: float) -> Float[Tensor, ""]:
    """Return how much of the average stays after so many updates: at first (1 + n) / (10 + n), then `decay`.

    Without it the weights of the start would weigh on the average of a short run. Source: TensorFlow's
    `ExponentialMovingAverage`, `num_updates`.
    """
    count = updates.float()
    return torch.clamp((1 + count) / (10 + count), max=decay)


@checked("callbacks.ema")
class AveragedWeights(WeightAveraging):
    """Lightning's `WeightAveraging` as an exponential moving average after each optimiser step.

    Parameters are averaged; buffers, such as the running statistics of a normalisation, are the current ones. A
    checkpoint holds the averaged weights as its `state_dict`, so that what reads one gets those, and the current ones
    beside them for a resume.

    Args:
        decay: Share of the average that stays at each step, see `decay_at`.

    Raises:
        UserError: The decay is out of its range.
    """

    def __init__(self, decay: Annotated[float, Field(ge=0, lt=1)] = 0.999) -> None:
        def average(averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
            stays = decay_at(torch.as_tensor(updates, device=averaged.device), decay)
            return current + stays.to(averaged.dtype) * (averaged - current)

        super().__init__(device=None, use_buffers=False, avg_fn=average)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the average to where the weights are; Lightning makes it before it has moved them."""
        self._averaged.to(pl_module.device)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Put the average of the parameters in the place of the current ones, which stay beside it."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._average_model is not None:
            current, parameters = checkpoint["current_model_state"], dict(pl_module.named_parameters())
            checkpoint["state_dict"] |= {name: value for name, value in current.items() if name not in parameters}

    @property
    def _averaged(self) -> nn.Module:
        assert self._average_model is not None  # made when the fit begins
        average: nn.Module = self._average_model.module
        return average

    def _swap_models(self, pl_module: pl.LightningModule) -> None:
        """Exchange the parameters alone: Lightning's exchanges buffers too, in which a validation counts."""
        for averaged, current in zip(self._averaged.parameters(), pl_module.parameters(), strict=True):
            kept = averaged.data.clone()
            averaged.data.copy_(current.data)
            current.data.copy_(kept)

    def _copy_average_to_current(self, pl_module: pl.LightningModule) -> None:
        for averaged, current in zip(self._averaged.parameters(), pl_module.parameters(), strict=True):
            current.data.copy_(averaged.data)
