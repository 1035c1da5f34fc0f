"""Scores of a checkpoint on labelled scans: what evaluate.py calls."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from clusterseg.callbacks import progress
from clusterseg.checkpoint import backbone_weights, read_checkpoint
from clusterseg.errors import UserError
from clusterseg.metrics import Scores
from clusterseg.run import build_backbone, save_config
from clusterseg.task import SegmentationTask

log = logging.getLogger("clusterseg")


def evaluate(config: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Score the checkpoint ``config.ckpt`` on ``config.split``; writes ``metrics.json`` into ``run_dir``.

    Returns:
        miou, miou_present, accuracy, iou by class name, points (labelled), scans.

    Raises:
        UserError: A setting or a file is wrong.
    """
    save_config(config, run_dir)
    checkpoint = read_checkpoint(config.ckpt)
    trained = OmegaConf.create(checkpoint["config"])
    given = {key: value for key, value in config.data.items() if value is not None}
    data = instantiate(OmegaConf.merge(trained.data, OmegaConf.create(given)), _convert_="all")
    loader = data.eval_dataloader(config.split)
    task = load_task(trained, checkpoint, data, str(config.ckpt))
    trainer = eval_trainer(config, str(trained.trainer.precision))
    trainer.validate(task, dataloaders=loader, verbose=False)
    result = as_dict(task.val_scores, data.class_names, len(loader.dataset))
    if trainer.is_global_zero:
        print_table(result, f"{config.ckpt} on {config.split}")
        write_json(result, run_dir / "metrics.json")
        log.info("wrote %s", run_dir / "metrics.json")
    return result


def load_task(trained: DictConfig, checkpoint: dict[str, Any], data: Any, path: str) -> SegmentationTask:
    """The backbone of a checkpoint alone, without head, losses and optimiser.

    Raises:
        UserError: The weights do not fit the number of classes of the data, or the network.
    """
    weights = backbone_weights(checkpoint)
    classes = weights["classifier.linear.bias"].numel()
    if classes != data.num_classes:
        raise UserError(
            f"ckpt={path} predicts {classes} classes, the data has {data.num_classes} "
            f"({data.label_map.name}); use data with the classes that it was trained on"
        )
    backbone = build_backbone(trained, data.in_channels, data.num_classes)
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"ckpt={path} does not fit its own network: {error}") from None
    return SegmentationTask(backbone, data.class_names)


def eval_trainer(config: DictConfig, precision: str) -> pl.Trainer:
    """A Trainer without loggers and checkpoints, in the precision of the training unless another one is asked for."""
    trainer: pl.Trainer = instantiate(
        config.trainer,
        precision=config.precision or precision,
        logger=False,
        callbacks=[progress()],
        enable_progress_bar=sys.stdout.isatty(),
        enable_checkpointing=False,
    )
    return trainer


def as_dict(values: Scores, class_names: tuple[str, ...], scans: int) -> dict[str, Any]:
    """Scores as plain numbers by name."""
    return {
        "miou": float(values.miou),
        "miou_present": float(values.miou_present),
        "accuracy": float(values.accuracy),
        "iou": {name: float(iou) for name, iou in zip(class_names, values.iou, strict=True)},
        "points": int(values.points),
        "scans": scans,
    }


def print_table(result: dict[str, Any], title: str) -> None:
    """Print IoU per class and the means, in percent."""
    table = Table()
    table.add_column("class")
    table.add_column("IoU %", justify="right")
    for name, iou in result["iou"].items():
        table.add_row(name, f"{100 * iou:.2f}")
    table.add_section()
    for name in ("miou", "miou_present", "accuracy"):
        table.add_row(name, f"{100 * result[name]:.2f}")
    console = Console()
    console.print(title, highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"{result['points']:,} labelled points in {result['scans']} scans", highlight=False)


def write_json(result: dict[str, Any], path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    os.replace(temporary, path)
