"""From a composed configuration to a finished run: what train.py and evaluate.py call."""

from __future__ import annotations

import logging
import math
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.callbacks import Callback, Checkpoint, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only

from clusterseg import preflight
from clusterseg.backbone import Backbone
from clusterseg.backbone.control import read_control
from clusterseg.backbone.pretrained import load_pretrained
from clusterseg.callbacks import RandomStates, progress
from clusterseg.checkpoint import AtomicCheckpointIO, error_line, newest_whole, read_checkpoint
from clusterseg.data.label_map import load_label_map
from clusterseg.determinism import statement
from clusterseg.errors import UserError
from clusterseg.faults import explained
from clusterseg.files import temporary_name
from clusterseg.loggers import CsvLogger
from clusterseg.resumable import require_same_model
from clusterseg.sparse import BatchNorm
from clusterseg.task import SegmentationTask

IN_CHANNELS = 4  # x, y, z, remission
CONF = Path(__file__).resolve().parents[1] / "conf"
log = logging.getLogger("clusterseg")


def train(config: DictConfig, run_dir: Path) -> dict[str, float]:
    """Train as configured; everything that is kept lies in ``run_dir``.

    Returns:
        The last logged value of each metric.

    Raises:
        UserError: A setting or a file is wrong.
    """
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
    if has_validation and "val/miou" not in trainer.callback_metrics:
        rank_zero_only(log.warning)("the run ended before its first validation: there is no best checkpoint")
    rank_zero_only(log.info)("run folder: %s", run_dir)
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


def rehearse(config: DictConfig) -> None:
    """Build all that learns without memory, and the callbacks: what they refuse is told before data is read.

    Raises:
        UserError: A setting is wrong.
    """
    try:
        with torch.device("meta"):
            task = build_task(config, load_label_map(config.data.label_map).class_names, IN_CHANNELS)
            task.build_optimizer(total_steps=1)
        instantiate(config.callbacks)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        key = str(error).rpartition("full_key: ")[2]
        raise UserError(f"{key}: {error_line(error.__cause__ or error)}; change this setting of {key}") from error


def self_contained(config: DictConfig) -> None:
    """Replace what depends on this machine's folders: the control file by its table, paths by full paths."""
    inline_control(config)
    with open_dict(config):
        config.data.root = str(Path(str(config.data.root)).expanduser().absolute())
        if config.model.init_from is not None:
            config.model.init_from = str(Path(str(config.model.init_from)).expanduser().absolute())


def inline_control(config: DictConfig) -> None:
    """Replace the name or the path of a control file by its table."""
    control = config.model.backbone.get("control")
    if isinstance(control, str):
        shipped = CONF / "control" / f"{control}.json"
        with open_dict(config):
            config.model.backbone.control = read_control(shipped if shipped.is_file() else control)


def log_short_runs(trainer: pl.Trainer, batches: int) -> None:
    """Log at least once an epoch of so many batches, and once a run, however short they are."""
    steps = [trainer.log_every_n_steps, max(batches, 1)]  # type: ignore[attr-defined]
    if trainer.max_steps > 0:
        steps.append(trainer.max_steps)
    trainer.log_every_n_steps = min(steps)  # type: ignore[attr-defined]


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


def build_backbone(config: DictConfig, in_channels: int, num_classes: int) -> Backbone:
    """The network of a configuration."""
    backbone: Backbone = instantiate(
        config.model.backbone, in_channels=in_channels, num_classes=num_classes, _convert_="all"
    )
    return backbone


def build_task(config: DictConfig, class_names: tuple[str, ...], in_channels: int) -> SegmentationTask:
    """The task of a configuration: backbone, losses, optimiser, and the cluster head if there is one."""
    backbone = build_backbone(config, in_channels, len(class_names))
    cluster = None
    if config.model.cluster is not None:
        make_head = instantiate(config.model.cluster, _convert_="all")
        tap = config.model.cluster.tap
        if tap not in backbone.tap_channels:
            raise UserError(f"model.cluster.tap={tap}: this backbone offers {', '.join(backbone.tap_channels)}")
        cluster = make_head(in_channels=backbone.tap_channels[tap], class_names=class_names)
    optim = instantiate(config.optim, _convert_="all")
    return SegmentationTask(
        backbone=backbone,
        class_names=class_names,
        losses=instantiate(config.loss, _convert_="all"),
        optimizer=optim["optimizer"],
        scheduler=optim["scheduler"],
        cluster=cluster,
        config=plain(config),
    )


def sync_batch_norm(task: SegmentationTask, synced: bool) -> None:
    """Let the network normalise by the voxels of all ranks, or of each by its own; the head always takes all."""
    for module in task.backbone.modules():
        if isinstance(module, BatchNorm):
            module.synced = synced


def init_weights(config: DictConfig, task: SegmentationTask) -> None:
    """Start from the weights of ``model.init_from``, if it is set, and tell what matched.

    Raises:
        UserError: The file is wrong or does not fit.
    """
    path = config.model.init_from
    if path is None:
        return
    proj = None if task.cluster is None else task.cluster.proj
    report = load_pretrained(str(path), task.backbone, proj, strict=config.model.init_strict)
    rank_zero_only(log.info)("weights of %s: %s", path, report)


def plain(config: DictConfig) -> dict[str, Any]:
    """A configuration as plain dictionaries, without what only Hydra needs."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def build_trainer(config: DictConfig, run_dir: Path, has_validation: bool) -> pl.Trainer:
    """The Trainer of a configuration, with its callbacks and loggers in the run folder."""
    folder = run_dir / "checkpoints"
    callbacks: list[Callback] = [progress(), RandomStates()]
    for name, callback in instantiate(config.callbacks).items():
        if callback is None or (isinstance(callback, LearningRateMonitor) and not config.logger):
            continue
        if isinstance(callback, ModelCheckpoint):
            if callback.monitor is not None and not has_validation:
                rank_zero_only(log.info)("nothing is validated: there is no %s.ckpt, last.ckpt counts", name)
                continue
            callback.dirpath = str(folder)
        callbacks.append(callback(folder=run_dir) if isinstance(callback, partial) else callback)
    loggers = [instantiate(logger, save_dir=str(run_dir)) for logger in config.logger.values()]
    try:
        trainer: pl.Trainer = instantiate(
            config.trainer,
            callbacks=callbacks,
            logger=loggers or False,
            default_root_dir=str(run_dir),
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=sys.stdout.isatty(),
            deterministic=config.deterministic,
            sync_batchnorm=False,  # Lightning's puts layers for GPUs in the place of ours, which can do it themselves
            plugins=[AtomicCheckpointIO()],
        )
    except Exception as error:
        raise UserError(f"trainer: {error_line(error.__cause__ or error)}") from error
    return trainer


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
