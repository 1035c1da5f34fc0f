"""Train a network: `clusterseg train model=spvnas_cluster data.root=DIR`."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from omegaconf import DictConfig
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.build.prepare import prepare
from clusterseg.build.training import Parts, build
from clusterseg.config.determinism import statement
from clusterseg.distributed import end_with_parent
from clusterseg.runs.earlier import remove_run, require_free
from clusterseg.runs.faults import explained
from clusterseg.runs.folder import save_config
from clusterseg.runs.lock import working_in
from clusterseg.runs.loggers import CsvLogger
from clusterseg.runs.wandb import WandbRun

log = logging.getLogger("clusterseg")


def train(config: DictConfig, run_dir: Path) -> dict[str, float]:
    """Train as configured; write all output into `run_dir`.

    Returns:
        The last logged value of each metric.

    Raises:
        UserError: A setting or a file is wrong.
    """
    end_with_parent()
    config = prepare(config)
    with working_in(run_dir):
        require_free(run_dir, config.ckpt, config.overwrite)
        return fit(build(config, run_dir))


def fit(parts: Parts) -> dict[str, float]:
    """Run a training; see `train`."""
    if parts.config.overwrite:
        rank_zero_only(remove_run)(parts.run_dir)
    save_config(parts.config, parts.run_dir)
    describe(parts)
    for logger in parts.trainer.loggers:
        if isinstance(logger, CsvLogger):
            logger.start_at(parts.first_step)
        elif isinstance(logger, WandbRun):
            logger.go_on(resumed=parts.resume is not None)
        logger.log_hyperparams(dict(parts.task.stored_config))
    with explained(parts.run_dir, resumed=parts.resume is not None):
        parts.trainer.fit(parts.task, datamodule=parts.data, ckpt_path=parts.resume, weights_only=True)
    metrics = parts.trainer.callback_metrics
    best = parts.run_dir / "checkpoints" / "best.ckpt"
    if parts.data.has_validation and "val/miou" not in metrics and not best.is_file():
        rank_zero_only(log.warning)("the run ended before its first validation: there is no best checkpoint")
    for callback in parts.trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
            score = float(callback.best_model_score)
            rank_zero_only(log.info)("best %s %.4f: %s", callback.monitor, score, callback.best_model_path)
    rank_zero_only(log.info)("run folder: %s", parts.run_dir)
    return {key: float(value) for key, value in metrics.items()}


def stated_lr(config: DictConfig) -> str:
    """Return the learning rate and whether it depends on the scans of a step."""
    stated, per = config.optim.optimizer.get("lr", "by default"), config.optim.get("lr_per")
    if per is None:
        return f"{stated} as set, not scaled by it"
    return f"{config.optim.lr_used:g}: {stated} for each {per} of them (optim.lr_per)"


@rank_zero_only
def describe(parts: Parts) -> None:
    """Log a short description of the run."""
    config, task, data, trainer = parts.config, parts.task, parts.data, parts.trainer
    parameters = sum(p.numel() for p in task.backbone.parameters())
    head = "" if task.cluster is None else f" + cluster head {sum(p.numel() for p in task.cluster.parameters()):,}"
    scans = {"train": len(data.dataset("fit"))} | ({"val": len(data.dataset("val"))} if data.has_validation else {})
    log.info("%s, %s parameters%s", type(task.backbone).__name__, f"{parameters:,}", head)
    device = trainer.strategy.root_device
    log.info("scans: %s; %s on %s", scans, trainer.precision, device)
    counts = (round(data.scans_per_batch(trainer.world_size), 2), trainer.world_size, trainer.accumulate_grad_batches)
    of = f"{math.prod(counts):g} ({counts[0]} x {counts[1]} ranks x {counts[2]} accumulated)"
    log.info("scans a step: %s; lr %s", of, stated_lr(config))
    if config.deterministic:
        log.info(statement(device.type, config.model.backbone.get("backend", "native"), trainer.world_size))
    log.info("run folder: %s", parts.run_dir)
    if parts.resume is not None:
        log.info("resuming %s", parts.resume)
