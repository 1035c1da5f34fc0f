"""Build the Trainer of a training, with callbacks and loggers, and that of an evaluation."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, Checkpoint, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.build.task import settings_explained
from clusterseg.callbacks import EpochPosition, LastCheckpoint, MovedRun, RandomStates, progress
from clusterseg.config.signatures import nearest
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.errors import UserError
from clusterseg.runs.checkpoint import AtomicCheckpointIO

log = logging.getLogger("clusterseg")


def build_trainer(config: DictConfig, run_dir: Path, callbacks: list[Callback]) -> pl.Trainer:
    """Build the Trainer of a configuration, with its loggers in the run folder.

    Raises:
        UserError: A setting is wrong.
    """
    with settings_explained():
        loggers = [instantiate(logger, save_dir=str(run_dir)) for logger in config.logger.values()]
        trainer: pl.Trainer = instantiate(
            config.trainer,
            callbacks=callbacks,
            logger=loggers or False,
            default_root_dir=str(run_dir),
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=sys.stdout.isatty(),
            deterministic=config.deterministic,
            sync_batchnorm=False,  # Lightning would replace the layers by its own; ours synchronise themselves
            plugins=[AtomicCheckpointIO()],
        )
    return trainer


def build_callbacks(config: DictConfig, run_dir: Path, data: ScanDataModule) -> list[Callback]:
    """Build the callbacks that apply to this run: some need a logger or a validation.

    Raises:
        UserError: A setting is wrong, or a callback watches a score that this run does not have.
    """
    settings = config.get("callbacks") or {}
    wrong = [*_monitors(settings, data)]
    if wrong:
        raise UserError("\n".join(wrong))
    callbacks: list[Callback] = [progress(), RandomStates(), MovedRun(), EpochPosition()]
    with settings_explained():
        made = {
            name: callback(folder=run_dir) if isinstance(callback, partial) else callback
            for name, callback in instantiate(settings).items()
        }
    for name, callback in made.items():
        if callback is None or (isinstance(callback, LearningRateMonitor) and not config.logger):
            continue
        if isinstance(callback, ModelCheckpoint):
            if callback.monitor is not None and not data.has_validation:
                rank_zero_only(log.info)("nothing is validated: there is no %s.ckpt, last.ckpt counts", name)
                continue
            callback.dirpath = str(run_dir / "checkpoints")
            if callback._save_on_train_epoch_end is None and str(callback.monitor).startswith("val/"):
                callback._save_on_train_epoch_end = (
                    False  # save at the validation itself, so that last.ckpt stores its state
                )
        callbacks.append(callback)
    # The last checkpoint stores the state of all other callbacks, so it comes last, also after a user's callbacks.
    return sorted(callbacks, key=lambda callback: isinstance(callback, LastCheckpoint))


def _monitors(callbacks: Mapping[Any, Any], data: ScanDataModule) -> Iterator[str]:
    scores = [f"val/{name}" for name in ("miou", "miou_present", "accuracy")]
    scores += [f"val/iou/{name}" for name in data.class_names]
    for name, callback in callbacks.items():
        monitor = (callback or {}).get("monitor") or ""
        if monitor.startswith("val/") and monitor not in scores:
            yield (
                f"callbacks.{name}.monitor={monitor}: no such score{nearest(monitor, scores)}; "
                f"choose one of {', '.join(scores[:3])}, val/iou/CLASS"
            )
        elif monitor.startswith("val/") and name != "best" and not data.has_validation:
            yield (
                f"callbacks.{name}.monitor={monitor}: this run validates nothing; list sequences to validate on "
                "(data.sequences.val=[08]), or leave the callback out"
            )


def log_short_runs(trainer: pl.Trainer, batches: int) -> None:
    """Lower `log_every_n_steps` so that even a short epoch and a short run are logged at least once."""
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning leaves it untyped
    steps = [every, max(batches // trainer.accumulate_grad_batches, 1)]
    if trainer.max_steps > 0:
        steps.append(trainer.max_steps)
    trainer.log_every_n_steps = min(steps)  # type: ignore[attr-defined]  # Lightning leaves it untyped


def eval_trainer(config: DictConfig, precision: str) -> pl.Trainer:
    """Build a Trainer without loggers and checkpoints, in the precision of the training unless another is asked for.

    Raises:
        UserError: A setting is wrong.
    """
    with settings_explained():
        trainer: pl.Trainer = instantiate(
            config.trainer,
            precision=config.trainer.precision or precision,
            logger=False,
            callbacks=[progress()],
            enable_progress_bar=sys.stdout.isatty(),
            enable_checkpointing=False,
        )
    return trainer
