"""Exponential moving average of the weights, used for validation and stored in the checkpoints."""

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
    """Return the decay of the average after n updates: the smaller of (1 + n) / (10 + n) and `decay`.

    Without the warm-up the initial weights would dominate the average of a short run. Source: TensorFlow's
    `ExponentialMovingAverage`, `num_updates`.
    """
    count = updates.float()
    return torch.clamp((1 + count) / (10 + count), max=decay)


@checked("callbacks.ema")
class AveragedWeights(WeightAveraging):
    """Lightning's `WeightAveraging` as an exponential moving average after each optimiser step.

    Parameters are averaged; buffers, such as the running statistics of a normalisation, are the current ones. The
    `state_dict` of a checkpoint holds the averaged weights; the current weights are stored beside it for a resume.

    Args:
        decay: Decay of the average per step in 0..1, see `decay_at`.

    Raises:
        UserError: The decay is out of its range.
    """

    def __init__(self, decay: Annotated[float, Field(ge=0, lt=1)] = 0.999) -> None:
        def average(averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
            stays = decay_at(torch.as_tensor(updates, device=averaged.device), decay)
            return current + stays.to(averaged.dtype) * (averaged - current)

        super().__init__(device=None, use_buffers=False, avg_fn=average)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the average to the device of the weights; Lightning creates it before it moves them."""
        self._averaged.to(pl_module.device)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the averaged parameters as the `state_dict`, with the current ones beside it."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._average_model is not None:
            current, parameters = checkpoint["current_model_state"], dict(pl_module.named_parameters())
            checkpoint["state_dict"] |= {name: value for name, value in current.items() if name not in parameters}

    @property
    def _averaged(self) -> nn.Module:
        assert self._average_model is not None  # created when the fit begins
        average: nn.Module = self._average_model.module
        return average

    def _swap_models(self, pl_module: pl.LightningModule) -> None:
        """Swap the parameters only: Lightning also swaps buffers, in which the validation counts."""
        for averaged, current in zip(self._averaged.parameters(), pl_module.parameters(), strict=True):
            previous = averaged.data.clone()
            averaged.data.copy_(current.data)
            current.data.copy_(previous)

    def _copy_average_to_current(self, pl_module: pl.LightningModule) -> None:
        for averaged, current in zip(self._averaged.parameters(), pl_module.parameters(), strict=True):
            current.data.copy_(averaged.data)
