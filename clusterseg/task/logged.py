"""Which steps are logged."""

from __future__ import annotations

import pytorch_lightning as pl


def is_logged(trainer: pl.Trainer, done: bool = False) -> bool:
    """Whether the logger takes the figures of the step that is being made.

    Args:
        trainer: Its `log_every_n_steps` decides; 0 stands for never.
        done: Whether the optimiser has stepped already.
    """
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning leaves it untyped
    return every > 0 and (trainer.global_step + (not done)) % every == 0
