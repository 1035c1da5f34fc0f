"""From a composed configuration to a finished run: what train.py and evaluate.py call."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.config import check as preflight
from clusterseg.build.assembly import (
    build_task,
    build_trainer,
    init_weights,
    log_short_runs,
    plain,
    self_contained,
    sync_batch_norm,
)
from clusterseg.runs.checkpoint import error_line, newest_whole, read_checkpoint
from clusterseg.data.label_map import load_label_map
from clusterseg.config.determinism import statement
from clusterseg.distributed import end_with_parent
from clusterseg.errors import UserError
from clusterseg.runs.faults import explained
from clusterseg.files import temporary_name
from clusterseg.runs.loggers import CsvLogger
from clusterseg.config.resumable import require_same_model
from clusterseg.task import SegmentationTask

IN_CHANNELS = 4  # x, y, z, remission
log = logging.getLogger("clusterseg")


def train(config: DictConfig, run_dir: Path) -> dict[str, float]:
    """Train as configured; everything that is kept lies in ``run_dir``.

    Returns:
        The last logged value of each metric.

    Raises:
        UserError: A setting or a file is wrong.
    """
    end_with_parent()
    preflight.check(config)
    self_contained(config)
    rehearse(config)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    resume = resume_path(config.ckpt, run_dir)
    data = instantiate(config.data, _convert_="all")
    data.setup("fit")
    task = build_task(config, data.class_names, data.in_channels)
    sync_batch_norm(task, config.trainer.sync_batchnorm)
    first_step = 0
    if resume is None:
        init_weights(config, task)
    else:
        checkpoint = read_checkpoint(resume)
        require_same_model(resume, checkpoint, task.state_dict(), plain(config))
        first_step = checkpoint["global_step"]
        if config.model.init_from is not None:
            rank_zero_only(log.info)("model.init_from is not read: the run goes on from its checkpoint")
    save_config(config, run_dir)
    has_validation = bool(data.sequences["val"])
    trainer = build_trainer(config, run_dir, has_validation)
    log_short_runs(trainer, len(data.dataset("fit")) // (data.batch_size * trainer.world_size))
    describe(config, task, data, trainer)
    if resume is not None:
        rank_zero_only(log.info)("resuming %s", resume)
    for logger in trainer.loggers:
        logger.log_hyperparams(plain(config))
        if isinstance(logger, CsvLogger):
            logger.start_at(first_step)
    with explained(run_dir, resumed=resume is not None):
        trainer.fit(task, datamodule=data, ckpt_path=resume, weights_only=True)
    best = run_dir / "checkpoints" / "best.ckpt"
    if has_validation and "val/miou" not in trainer.callback_metrics and not best.is_file():
        rank_zero_only(log.warning)("the run ended before its first validation: there is no best checkpoint")
    rank_zero_only(log.info)("run folder: %s", run_dir)
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


def rehearse(config: DictConfig) -> None:
    """Build all that learns without memory, and the callbacks: what they refuse is told before data is read.

    (A network that reads numbers from its tensors while it is made cannot be built so; then the real one tells.)

    Raises:
        UserError: A setting is wrong.
    """
    try:
        with torch.device("meta"):
            task = build_task(config, load_label_map(config.data.label_map).class_names, IN_CHANNELS)
            task.build_optimizer(total_steps=1)
        instantiate(config.callbacks)
    except (InstantiationException, RuntimeError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from None
        if isinstance(cause, RuntimeError) and "meta" in str(cause):
            return
        if not isinstance(error, InstantiationException):
            raise
        key = str(error).rpartition("full_key: ")[2]
        raise UserError(f"{key}: {error_line(error.__cause__ or error)}; change this setting of {key}") from error


def resume_path(ckpt: str | None, run_dir: Path) -> Path | None:
    """The checkpoint to resume: a path; ``last`` for the newest whole one of the run folder; ``auto`` if there is one.

    Raises:
        UserError: There is no such file.
    """
    if ckpt is None:
        return None
    if ckpt not in ("last", "auto"):
        if not Path(ckpt).is_file():
            raise UserError(f"ckpt={ckpt}: there is no such file; give the path of a checkpoint")
        return Path(ckpt)
    newest = newest_whole(run_dir / "checkpoints")
    if newest is None and ckpt == "last":
        raise UserError(
            f"ckpt=last: no checkpoint in {run_dir / 'checkpoints'} can be read; give the run folder by "
            "hydra.run.dir=DIR, or ckpt=auto to begin where there is none yet"
        )
    return newest


@rank_zero_only
def save_config(config: DictConfig, run_dir: Path) -> None:
    """Write the composed configuration into the run folder.

    Raises:
        UserError: The folder cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        temporary = run_dir / temporary_name("config.yaml")
        OmegaConf.save(config, temporary, resolve=True)
        os.replace(temporary, run_dir / "config.yaml")
    except OSError as error:
        raise UserError(
            f"run folder {run_dir} cannot be written ({error.strerror}); choose one by hydra.run.dir=DIR"
        ) from None


@rank_zero_only
def describe(config: DictConfig, task: SegmentationTask, data: Any, trainer: pl.Trainer) -> None:
    """Tell in a few lines what is about to run."""
    parameters = sum(p.numel() for p in task.backbone.parameters())
    head = "" if task.cluster is None else f" + cluster head {sum(p.numel() for p in task.cluster.parameters()):,}"
    scans = {
        split: len(data.dataset(name)) for split, name in (("train", "fit"), ("val", "val")) if data.sequences[split]
    }
    log.info("%s, %s parameters%s", type(task.backbone).__name__, f"{parameters:,}", head)
    device = trainer.strategy.root_device
    log.info("scans: %s; %s on %s", scans, trainer.precision, device)
    parts = (data.batch_size, trainer.world_size, trainer.accumulate_grad_batches)
    of = f"{math.prod(parts)} ({parts[0]} x {parts[1]} ranks x {parts[2]} accumulated)"
    log.info("scans a step: %s; lr %s as set, not scaled by it", of, config.optim.optimizer.get("lr", "by default"))
    if config.deterministic:
        log.info(statement(device.type, config.model.backbone.get("backend", "native"), trainer.world_size))
    log.info("run folder: %s", trainer.default_root_dir)
