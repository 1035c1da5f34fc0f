"""Optimisers in one pass over the parameters where that is possible; learning-rate schedules in optimiser steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

from pydantic import Field
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from clusterseg.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]


def build_optimizer(optimizer: Callable[..., Optimizer], parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Call a partial of an optimiser's class with the parameters.

    On a CPU Adam, AdamW and SGD are asked for their fused loops, unless `fused` or `foreach` is given: PyTorch's
    default there starts a dozen operations for each parameter.

    Examples:
        >>> from functools import partial
        >>> layer = nn.Linear(2, 2)
        >>> build_optimizer(partial(AdamW, lr=0.1), layer.parameters()).defaults["fused"]
        True
    """
    parameters = list(parameters)
    given = getattr(optimizer, "keywords", {})
    fits = getattr(optimizer, "func", None) in (Adam, AdamW, SGD) and not {"fused", "foreach"} & set(given)
    if fits and all(parameter.device.type == "cpu" for parameter in parameters):
        return optimizer(parameters, fused=True)
    return optimizer(parameters)


def cosine_factor(step: int, total_steps: int, warmup_steps: int, final_factor: float = 0.0) -> float:
    """Factor on the base learning rate at `step`: a linear rise over `warmup_steps`, then half a cosine.

    The rise starts at 1 / warmup_steps, so that the first step already learns; `final_factor` is reached at
    `total_steps` and stays constant afterwards.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return final_factor + (1 - final_factor) * 0.5 * (1 + math.cos(math.pi * progress))


def cosine_with_warmup(
    optimizer: Optimizer, total_steps: int, warmup_fraction: Share = 0.0, final_factor: Share = 0.0
) -> LambdaLR:
    """Cosine decay with linear warm-up over the whole run, stepped once an optimiser step.

    Args:
        optimizer: Its learning rates are the peaks.
        total_steps: Optimiser steps of the run.
        warmup_fraction: Share of `total_steps` in 0..1 that rises.
        final_factor: Share of the peak that is left at the end.
    """
    warmup = round(warmup_fraction * total_steps)
    return LambdaLR(optimizer, lambda step: cosine_factor(step, total_steps, warmup, final_factor))


def multi_step_factor(step: int, drops: Sequence[float], factor: float, warmup_steps: int) -> float:
    """Factor on the base learning rate at `step`: a linear rise, then `factor` more at each of the drops."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return float(factor ** sum(step >= drop for drop in drops))


def multi_step(
    optimizer: Optimizer,
    total_steps: int,
    milestones: Sequence[Annotated[float, Field(gt=0)]],
    length: Annotated[float, Field(gt=0)],
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1,
    warmup_fraction: Share = 0.0,
) -> LambdaLR:
    """Drop the learning rate at milestones, after a linear warm-up, stepped once an optimiser step.

    Milestones are written in the unit of their source, such as epochs, and stretched to the length of the run:
    `milestones=[24, 32] length=36` drops after two thirds of any run.

    Args:
        optimizer: Its learning rates are the peaks.
        total_steps: Optimiser steps of the run.
        milestones: Where to drop, ascending, each before the end.
        length: The whole run, in the same unit.
        factor: Share of the learning rate that a drop leaves.
        warmup_fraction: Share of `total_steps` that rises.

    Raises:
        UserError: The milestones do not ascend, or one is not within the run.
    """
    listed = list(milestones)
    if listed != sorted(set(listed)) or (listed and not 0 < listed[0] <= listed[-1] < length):
        raise UserError(
            f"optim.scheduler: got milestones={listed}, length={length}; expected milestones that ascend, each above 0 "
            "and below the length"
        )
    drops = [round(milestone * total_steps / length) for milestone in listed]
    warmup = round(warmup_fraction * total_steps)
    return LambdaLR(optimizer, lambda step: multi_step_factor(step, drops, factor, warmup))


def one_cycle_factor(step: int, total_steps: int, rise: float, start_factor: float, final_factor: float) -> float:
    """Factor on the peak learning rate at `step`: half a cosine up to the peak, and half a cosine down.

    The peak is at `rise * total_steps - 1` and the end at `total_steps - 1`, as PyTorch's `OneCycleLR` counts.
    """
    last = total_steps - 1
    peak = min(max(rise * total_steps - 1, 0.0), last)
    if step < peak:
        low, progress = start_factor, step / peak
    else:
        low, progress = final_factor, 1 - min(1.0, (step - peak) / max(last - peak, 1e-9))
    return low + (1 - low) * 0.5 * (1 - math.cos(math.pi * progress))


def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    warmup_fraction: Share = 0.3,
    start_factor: Share = 0.04,
    final_factor: Share = 4e-6,
) -> LambdaLR:
    """One cycle over the whole run, stepped once an optimiser step; momentum stays.

    Source: Smith and Topin, "Super-convergence" (2018), in the form and with the defaults of PyTorch's `OneCycleLR`.

    Args:
        optimizer: Its learning rates are the peaks.
        total_steps: Optimiser steps of the run.
        warmup_fraction: Share of `total_steps` that rises.
        start_factor: Share of the peak to begin with.
        final_factor: Share of the peak that is left at the end.
    """
    return LambdaLR(
        optimizer, lambda step: one_cycle_factor(step, total_steps, warmup_fraction, start_factor, final_factor)
    )


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """The learning rate as it is."""
    return LambdaLR(optimizer, lambda step: 1.0)
