"""Build the parts of a training from its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.build.task import build_task, init_weights, log, plain, settings_explained, sync_batch_norm
from clusterseg.build.trainer import build_callbacks, build_trainer, log_short_runs
from clusterseg.cluster import ClusterHead
from clusterseg.config.resumable import require_same_model, warn_of_other_steps
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.reader import Reader
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.errors import UserError
from clusterseg.runs.checkpoint import read_checkpoint, resume_path
from clusterseg.task import SegmentationTask


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of a training.

    Attributes:
        config: The prepared configuration.
        run_dir: The folder for all output.
        data: The scans.
        task: Network, losses, optimiser, head.
        trainer: The Trainer that runs it.
        resume: The checkpoint to resume, or None.
        first_step: The first optimiser step, 0 for a new run.
    """

    config: DictConfig
    run_dir: Path
    data: ScanDataModule
    task: SegmentationTask
    trainer: pl.Trainer
    resume: Path | None
    first_step: int


def build(config: DictConfig, run_dir: Path) -> Parts:
    """Build the parts of a training; data is read last, after all settings are checked.

    Raises:
        UserError: A setting or a file is wrong.
    """
    pl.seed_everything(config.seed, workers=True, verbose=False)
    data = build_data(config)
    task = build_task(config, data.inputs)
    serve(task, data)
    sync_batch_norm(task, config.trainer.sync_batchnorm)
    resume = resume_path(config.ckpt, run_dir)
    checkpoint = start(config, task, resume)
    callbacks = build_callbacks(config, run_dir, data)
    data.setup("fit")
    require_modes(task, data)
    trainer = build_trainer(config, run_dir, callbacks)
    log_short_runs(trainer, data.batches_per_epoch(trainer.world_size))
    scans = scans_per_step(data, trainer)
    config = scale_lr(config, task, scans)
    if checkpoint is not None and data.batch_voxels is None:
        batches = trainer.world_size * trainer.accumulate_grad_batches
        rank_zero_only(warn_of_other_steps)(resume, checkpoint, scans, batches)
    first_step = 0 if checkpoint is None else checkpoint["global_step"]
    # The parts drew different numbers, by their sizes: runs of one seed share dropout whatever their head.
    pl.seed_everything(config.seed, workers=True, verbose=False)
    return Parts(config, run_dir, data, task, trainer, resume, first_step)


def build_data(config: DictConfig) -> ScanDataModule:
    """Build the data module of a configuration; no scan is read yet.

    Raises:
        UserError: A setting is wrong.
    """
    with settings_explained():
        data = instantiate(config.data, _convert_="all")
    if not isinstance(data, ScanDataModule):
        raise UserError(
            f"data._target_={config.data.get('_target_')}: expected a clusterseg.data.datamodule.ScanDataModule; "
            "give it a Reader of your own data (data.reader) and a label map (data.label_map)"
        )
    require_apart(data.reader)
    return data


def scans_per_step(data: ScanDataModule, trainer: pl.Trainer) -> float:
    """Return the number of scans of an optimiser step, over all ranks and accumulated batches; a mean with a budget."""
    return data.scans_per_batch(trainer.world_size) * trainer.world_size * trainer.accumulate_grad_batches


def scale_lr(config: DictConfig, task: SegmentationTask, scans: float) -> DictConfig:
    """Scale a learning rate that is stated per `optim.lr_per` scans to those of a step.

    Args:
        config: The prepared configuration.
        task: Its optimiser takes the scaled rate.
        scans: Scans of an optimiser step.

    Returns:
        The configuration, with the rate in use as `optim.lr_used`; the task stores the same in its checkpoints.

    Raises:
        UserError: No learning rate is set that could be scaled.
    """
    per = config.optim.get("lr_per")
    if per is None:
        return config
    stated = config.optim.optimizer.get("lr")
    if stated is None:
        raise UserError(f"optim.lr_per={per}: there is no optim.optimizer.lr to scale; set it, or optim.lr_per=null")
    task.lr_factor = scans / per
    used = stated * task.lr_factor
    config = config.copy()
    OmegaConf.set_readonly(config, False)
    with open_dict(config):
        config.optim.lr_used = used
    OmegaConf.set_readonly(config, True)
    task.stored_config["optim"]["lr_used"] = used
    return config


def serve(task: SegmentationTask, data: ScanDataModule) -> None:
    """Let the training samples contain what the head asks for, and nothing else."""
    asks = frozenset() if task.cluster is None else task.cluster.asks
    data.subjects = bool(asks & {"things", "modes"})
    data.two_views = "other" in asks


def require_modes(task: SegmentationTask, data: ScanDataModule) -> None:
    """Refuse a head that asks for known subclasses on data without them, or with more of them than clusters.

    Raises:
        UserError: It is so.
    """
    if task.cluster is None or "modes" not in task.cluster.asks:
        return
    if data.reader.modes(data.dataset("fit").scan_ids[0]) is None:
        raise UserError(
            f"model.cluster asks for the true subclasses, which the scans of {type(data.reader).__name__} do not have; "
            "use synthetic data (data=streets), or another model/cluster"
        )
    if not isinstance(task.cluster, ClusterHead):
        return
    names = data.reader.mode_names()
    clusters = zip(task.class_names, task.cluster.centers.exists.sum(1).tolist(), strict=True)
    few = [f"{name}: {count} of {len(names[name])}" for name, count in clusters if count < len(names.get(name, ()))]
    if few:
        raise UserError(
            f"model.cluster.clusters_per_class: fewer clusters than true subclasses ({', '.join(few)}); set it to "
            f"{max(map(len, names.values()))} or more"
        )


def require_apart(reader: Reader) -> None:
    """Refuse validation on training scans, which could not select a checkpoint.

    Raises:
        UserError: The protocol `trainval` and sequences to validate on are given together.
    """
    if not isinstance(reader, SemanticKittiReader) or reader.protocol != "trainval":
        return
    void = sorted(set(reader.sequences["train"]) & set(reader.sequences["val"]))
    if void:
        raise UserError(
            f"data.protocol=trainval trains on {', '.join(void)}, so data.sequences.val={void} cannot select a best "
            "checkpoint: leave data.sequences.val out (the last checkpoint counts), or use data.protocol=train"
        )


def start(config: DictConfig, task: SegmentationTask, resume: Path | None) -> dict[str, Any] | None:
    """Load the initial weights of a new run, or check the checkpoint to resume and return it.

    Raises:
        UserError: The file is wrong or does not fit.
    """
    if resume is None:
        init_weights(config, task)
        return None
    checkpoint = read_checkpoint(resume)
    require_same_model(resume, checkpoint, task.state_dict(), plain(config))
    if config.model.init_from is not None:
        rank_zero_only(log.info)("model.init_from is not read: the run resumes from its checkpoint")
    return checkpoint
