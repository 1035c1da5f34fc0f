"""Score a checkpoint on labelled scans: `clusterseg evaluate ckpt=PATH`."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from clusterseg.build.ensemble import checkpoint_paths
from clusterseg.build.evaluation import build
from clusterseg.commands.corrupted import check_corruptible, predicted, under_corruptions
from clusterseg.data.corrupt import choose_corruptions
from clusterseg.data.reader import Reader
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.distributed import rank
from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.metrics import mode_recall
from clusterseg.predict.metrics import Tally, named
from clusterseg.predict.packing import LabelWriter, conclude, pack
from clusterseg.predict.prediction import PredictedScan, Sink
from clusterseg.predict.robustness import read_baseline
from clusterseg.predict.validate import track_of
from clusterseg.runs.faults import explained
from clusterseg.runs.folder import save_config
from clusterseg.viz.confusion import write_confusion
from clusterseg.viz.figures import png
from clusterseg.viz.gallery import Gallery
from clusterseg.viz.report import write_comparison, write_report
from clusterseg.viz.robustness import corrupted_figure, robustness_table
from clusterseg.viz.tables import MEANS, difference_rows, print_comparison, print_scores

log = logging.getLogger("clusterseg")


def evaluate(config: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Score the checkpoint `config.ckpt` on `config.split`; writes `metrics.json` and more into `run_dir`.

    Returns:
        The content of `metrics.json`: miou, miou_present, accuracy, iou by class name, points (labelled), scans; and
        distance (by band), calibration, latency_ms, peak_memory_mib, device, split, tta, checkpoints; with
        `config.corrupt`, robustness; on streets also mode_recall (recall and points by class and true mode). With
        `config.compare`, see `compare`.

    Raises:
        UserError: A setting or a file is wrong.
    """
    save_config(config, run_dir)
    if config.compare is not None:
        return compare(config, run_dir)
    return score(config, config.ckpt, run_dir)


def compare(config: DictConfig, run_dir: Path) -> dict[str, Any]:
    """Score the two checkpoints `config.compare`, each in its own folder, and compare them.

    Returns:
        The content of `comparison.json`: the results a and b, and the difference b - a of each class and mean.

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
        folders = [run_dir / folder for folder in "ab"]
        write_comparison(run_dir / "report.html", f"Comparison on {config.split}", names, results, folders)
        log.info("wrote %s", run_dir / "report.html")
    return comparison


def score(config: DictConfig, checkpoints: Any, run_dir: Path) -> dict[str, Any]:
    """Score one checkpoint, or several as an ensemble; see `evaluate`."""
    names = choose_corruptions(config.corrupt)
    baseline = read_baseline(config.corrupt_baseline, names)
    parts = build(config, checkpoints)
    check_corruptible(parts, names, config.split)
    data, networks, label_map = parts.data, parts.networks, parts.networks.inputs.label_map
    scan_ids = data.dataset(config.split).scan_ids
    gallery = Gallery(scan_ids, config.pictures, label_map)
    labels = LabelWriter(run_dir / "submission", data.reader.prediction_name, label_map)
    sinks: list[Sink] = [gallery, labels] if config.split == "test" else [gallery]
    with explained(run_dir, resumed=False):
        task = predicted(parts, config.split, sinks)
        tally, scans = task.tally_of_all(), gallery.of_all()
        facts = {"split": config.split, "tta": config.tta, "checkpoints": list(networks.paths)}
        result = as_dict(tally, label_map.class_names) | task.cost_of_all() | facts
        recalls = mode_recall(task.modes_of_all(), label_map.class_names, data.reader.mode_names())
        if recalls:
            result["mode_recall"] = recalls
        drawn: dict[str, PredictedScan] = {}
        if names:
            result["robustness"], drawn = under_corruptions(parts, names, config.split, result, baseline)
    if parts.trainer.is_global_zero:
        print_scores(result, f"{', '.join(networks.paths)} on {config.split}")
        if names:
            Console().print(robustness_table(result["robustness"]))
        write(result, tally, scans, gallery, drawn, run_dir)
        log_to_wandb(config, result, scans, gallery, run_dir)
        if config.split == "test":
            submit(data.reader, scan_ids, run_dir, track_of(label_map))
    return result


def write(
    result: dict[str, Any],
    tally: Tally,
    scans: list[PredictedScan],
    gallery: Gallery,
    drawn: dict[str, PredictedScan],
    run_dir: Path,
) -> None:
    """Write `metrics.json`, `confusion.csv`, the pictures and `report.html`."""
    write_file(run_dir / "metrics.json", as_text(result))
    confusion = write_confusion(tally.confusion.sum(0), gallery.label_map.class_names, run_dir)
    pictures = gallery.write(scans, run_dir) if scans else {}
    training_run = run_of(Path(result["checkpoints"][0]))
    title = f"Evaluation on {result['split']}"
    shown = {"clean": scans[0]} | drawn if scans and drawn else {}
    corrupted = png(corrupted_figure(shown, gallery.label_map.colours)) if shown else None
    write_report(run_dir / "report.html", title, result, confusion, pictures, training_run, corrupted)
    log.info("wrote metrics.json, report.html%s into %s", " and viewer.html" if pictures else "", run_dir)


def run_of(checkpoint: Path) -> Path | None:
    """Return the run folder of a checkpoint, which is its parent's parent; None if the path has none."""
    parents = checkpoint.absolute().parents
    return parents[1] if len(parents) > 1 else None


def log_to_wandb(
    config: DictConfig, result: dict[str, Any], scans: list[PredictedScan], gallery: Gallery, run_dir: Path
) -> None:
    """Log scores and scans to wandb, if `logger=wandb`."""
    if "wandb" in config.logger:
        logger = instantiate(config.logger.wandb, save_dir=str(run_dir))
        means = {f"{config.split}/{name}": result[name] for name in MEANS if result[name] is not None}
        gallery.log(logger, scans, means)


def submit(reader: Reader, scan_ids: list[str], run_dir: Path, track: str) -> None:
    """Pack the benchmark's submission and check it; for other data sets leave the label files as they are."""
    if not isinstance(reader, SemanticKittiReader):
        log.info("labels are in %s", run_dir / "submission")
        return
    pack(run_dir / "submission", map(reader.prediction_name, scan_ids), run_dir / "submission.zip")
    conclude(run_dir / "submission.zip", reader.root, track)


def as_text(result: dict[str, Any]) -> str:
    """Format a result as JSON text."""
    return json.dumps(result, indent=2, allow_nan=False) + "\n"


def as_dict(tally: Tally, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Return scores as plain numbers by name; without a labelled point the scores are None."""
    confidence, accuracy = tally.reliability()
    return {
        **named(tally.scores(), class_names),
        "scans": tally.scans,
        "distance": {band: named(values, class_names) for band, values in tally.scores_by_distance().items()},
        "calibration": {
            "ece": tally.calibration_error() if int(tally.bin_points.sum()) else None,
            "confidence": confidence.tolist(),
            "accuracy": accuracy.tolist(),
            "points": tally.bin_points.tolist(),
        },
    }
