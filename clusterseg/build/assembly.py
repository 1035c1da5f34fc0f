"""From a composed configuration to its parts: the network, the task, the Trainer."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.callbacks import Callback, Checkpoint, LearningRateMonitor, ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.backbone import Backbone
from clusterseg.backbone.control import read_control
from clusterseg.backbone.pretrained import load_pretrained
from clusterseg.callbacks import RandomStates, progress
from clusterseg.runs.checkpoint import AtomicCheckpointIO, error_line
from clusterseg.errors import UserError
from clusterseg.sparse import BatchNorm
from clusterseg.task import SegmentationTask

CONF = Path(__file__).resolve().parents[2] / "conf"
log = logging.getLogger("clusterseg")


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


def log_short_runs(trainer: pl.Trainer, batches: int) -> None:
    """Log at least once an epoch of so many batches, and once a run, however short they are."""
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    steps = [trainer.log_every_n_steps, max(batches // trainer.accumulate_grad_batches, 1)]  # type: ignore[attr-defined]
    if trainer.max_steps > 0:
        steps.append(trainer.max_steps)
    trainer.log_every_n_steps = min(steps)  # type: ignore[attr-defined]
