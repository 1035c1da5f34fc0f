"""Scores of checkpoints on scans, and the benchmark's submission: what evaluate.py calls."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader

from clusterseg.callbacks import progress
from clusterseg.data.batch import Batch
from clusterseg.distributed import rank
from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.viz.gallery import Gallery
from clusterseg.metrics import Scores
from clusterseg.build.ensemble import Networks, checkpoint_paths, read_networks
from clusterseg.predict.submission import LabelWriter, conclude, pack
from clusterseg.predict.metrics import Tally
from clusterseg.predict.task import PredictionTask, Sink
from clusterseg.predict.views import choose_views
from clusterseg.predict.voter import Voter
from clusterseg.commands.train import save_config
from clusterseg.viz.confusion import write_confusion
from clusterseg.viz.report import write_comparison, write_report
from clusterseg.viz.tables import MEANS, difference_rows, print_comparison, print_scores

log = logging.getLogger("clusterseg")


def evaluate(config: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Score the checkpoint ``config.ckpt`` on ``config.split``; writes ``metrics.json`` and more into ``run_dir``.

    Returns:
        The content of ``metrics.json``: miou, miou_present, accuracy, iou by class name, points (labelled), scans; and
        distance (by band), calibration, latency_ms, peak_memory_mib, device, split, tta, checkpoints. With
        ``config.compare``, see `compare`.

    Raises:
        UserError: A setting or a file is wrong.
    """
    save_config(config, run_dir)
    if config.compare is not None:
        return compare(config, run_dir)
    return score(config, config.ckpt, run_dir)


def compare(config: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Score the two checkpoints ``config.compare``, each in a folder of its own, and put them side by side.

    Returns:
        The content of ``comparison.json``: the results a and b, and the difference b - a of each class and mean.

    Raises:
        UserError: A setting or a file is wrong.
    """
    if config.ckpt is not None or len(config.compare) != 2:
        raise UserError(f"compare={config.compare}: expected two checkpoints, compare=[A,B], and no ckpt")
    names = [", ".join(checkpoint_paths(setting)) for setting in config.compare]
    results = [score(config, setting, run_dir / folder) for setting, folder in zip(config.compare, "ab", strict=True)]
    difference = {name: change for name, _, _, change in difference_rows(*results)}
    comparison = {"a": results[0], "b": results[1], "difference": difference}
    if rank() == 0:
        print_comparison(names, results)
        write_file(run_dir / "comparison.json", as_text(comparison))
        write_comparison(run_dir / "report.html", f"Comparison on {config.split}", names, results)
        log.info("wrote %s", run_dir / "report.html")
    return comparison


def score(config: DictConfig, checkpoints: Any, run_dir: Path) -> dict[str, Any]:
    """Score one checkpoint, or several as an ensemble; see `evaluate`."""
    networks = read_networks(checkpoints)
    data = eval_data(config, networks)
    scan_ids = [files.scan_id for files in data.dataset(config.split).files]
    gallery = Gallery(scan_ids, config.pictures, networks.label_map)
    sinks: list[Sink] = [gallery]
    if config.split == "test":
        sinks.append(LabelWriter(run_dir / "submission", networks.label_map))
    voter = Voter(networks.networks, choose_views(config.tta), networks.voxel_size)
    task = PredictionTask(voter, data.num_classes, sinks)
    trainer = eval_trainer(config, str(networks.config.trainer.precision))
    trainer.validate(task, datamodule=SplitData(data, config.split), verbose=False)
    tally, scans = task.tally_of_all(), gallery.of_all()
    facts = {"split": config.split, "tta": config.tta, "checkpoints": list(networks.paths)}
    result = as_dict(tally, data.class_names) | task.cost_of_all() | facts
    if trainer.is_global_zero:
        print_scores(result, f"{', '.join(networks.paths)} on {config.split}")
        write_file(run_dir / "metrics.json", as_text(result))
        confusion = write_confusion(tally.confusion.sum(0), data.class_names, run_dir)
        pictures = gallery.write(scans, run_dir) if scans else {}
        training_run = Path(result["checkpoints"][0]).absolute().parents[1]
        title = f"Evaluation on {config.split}"
        write_report(run_dir / "report.html", title, result, confusion, pictures, training_run)
        log.info("wrote metrics.json and report.html into %s", run_dir)
        if "wandb" in config.logger:
            logger = instantiate(config.logger.wandb, save_dir=str(run_dir))
            means = {f"{config.split}/{name}": result[name] for name in MEANS if result[name] is not None}
            gallery.log(logger, scans, means)
        if config.split == "test":
            pack(run_dir / "submission", scan_ids, run_dir / "submission.zip")
            conclude(run_dir / "submission.zip", data.root)
    return result


def as_text(result: dict[str, Any]) -> str:
    """JSON as it is written."""
    return json.dumps(result, indent=2, allow_nan=False) + "\n"


class SplitData(pl.LightningDataModule):
    """One split of a data module as what a Trainer validates on; it knows the ranks by then, and deals the scans out.

    Args:
        data: Has `eval_dataloader`.
        split: See there.
    """

    def __init__(self, data: Any, split: str) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer scans than ranks is no mistake
        self.data, self.split = data, split

    def val_dataloader(self) -> DataLoader:
        """Every scan of the split once, over all ranks together."""
        self.data.trainer = self.trainer
        loader: DataLoader = self.data.eval_dataloader(self.split)
        return loader

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Copy a batch to the device without waiting for the copy."""
        moved: Batch = self.data.transfer_batch_to_device(batch, device, dataloader_idx)
        return moved


def eval_data(config: DictConfig, networks: Networks) -> Any:
    """The data module of the first checkpoint, with what ``config.data`` sets otherwise."""
    given = {key: value for key, value in config.data.items() if value is not None}
    settings = OmegaConf.merge(networks.config.data, OmegaConf.create({**given, "keep_points": True}))
    return instantiate(settings, _convert_="all")


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


def as_dict(tally: Tally, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Scores as plain numbers by name; without a labelled point the scores are None."""
    confidence, accuracy = tally.reliability()
    return {
        **_named(tally.scores(), class_names),
        "scans": tally.scans,
        "distance": {band: _named(values, class_names) for band, values in tally.scores_by_distance().items()},
        "calibration": {
            "ece": tally.calibration_error() if int(tally.bin_points.sum()) else None,
            "confidence": confidence.tolist(),
            "accuracy": accuracy.tolist(),
            "points": tally.bin_points.tolist(),
        },
    }


def _named(values: Scores, class_names: tuple[str, ...]) -> dict[str, Any]:
    labelled = int(values.points) > 0
    return {
        "miou": float(values.miou) if labelled else None,
        "miou_present": float(values.miou_present) if labelled else None,
        "accuracy": float(values.accuracy) if labelled else None,
        "iou": {n: float(iou) if labelled else None for n, iou in zip(class_names, values.iou, strict=True)},
        "points": int(values.points),
    }
