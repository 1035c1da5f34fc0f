"""Learning-rate schedules, counted in optimiser steps."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def cosine_factor(step: int, total_steps: int, warmup_steps: int, final_factor: float = 0.0) -> float:
    """Factor on the base learning rate at ``step``: a linear rise over ``warmup_steps``, then half a cosine.

    The rise starts at 1 / warmup_steps, so that the first step already learns; ``final_factor`` is reached at
    ``total_steps`` and kept.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return final_factor + (1 - final_factor) * 0.5 * (1 + math.cos(math.pi * progress))


def cosine_with_warmup(
    optimizer: Optimizer, total_steps: int, warmup_fraction: float = 0.0, final_factor: float = 0.0
) -> LambdaLR:
    """Cosine decay with linear warm-up over the whole run, stepped once an optimiser step.

    Args:
        optimizer: Its learning rates are the peaks.
        total_steps: Optimiser steps of the run.
        warmup_fraction: Share of ``total_steps`` in 0..1 that rises.
        final_factor: Share of the peak that is left at the end.
    """
    warmup = round(warmup_fraction * total_steps)
    return LambdaLR(optimizer, lambda step: cosine_factor(step, total_steps, warmup, final_factor))


def constant(optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """The learning rate as it is."""
    return LambdaLR(optimizer, lambda step: 1.0)
