"""Labels for point clouds of any kind: what predict.py calls."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from clusterseg.build.ensemble import Networks, read_networks
from clusterseg.build.evaluation import precision_of, trusted
from clusterseg.build.trainer import eval_trainer
from clusterseg.data.label_map import LabelMap
from clusterseg.data.scan import write_labels
from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.predict.clouds import SUFFIXES, read_cloud
from clusterseg.predict.clouds.ply import write_ply
from clusterseg.predict.dataset import CloudData, CloudDataset, choose_remission_scale
from clusterseg.predict.task import PredictedScan, PredictionTask
from clusterseg.predict.views import choose_views
from clusterseg.predict.voter import Voter

log = logging.getLogger("clusterseg")


def predict(config: DictConfig, run_dir: Path) -> dict[str, int]:
    """Predict every point of ``config.input`` and write raw labels under ``config.output``, one file per cloud.

    A file that is there already is not predicted again: an interrupted run goes on where it stopped.

    Returns:
        How many files there are, were predicted now, and had been before.

    Raises:
        UserError: A setting or a file is wrong.
    """
    for key in ("input", "output"):
        if config[key] is None:
            raise UserError(f"{key} is not set; python predict.py ckpt=PATH input=FILE_OR_FOLDER output=DIR")
    source, output = Path(config.input).expanduser(), Path(config.output).expanduser()
    targets = plan(source, output)
    if config.ply and output.resolve() == source.resolve():
        raise UserError(f"output={output} is the input folder, and ply=true writes clouds; choose another folder")
    networks = read_networks(config.ckpt, trusted(config))
    views = choose_views(config.tta)
    scale = choose_remission_scale(list(targets), config.remission)
    prepare(output, settings(config, networks, scale))
    endings = (".label", ".ply") if config.ply else (".label",)
    todo = [file for file, target in targets.items() if not all(target.with_suffix(end).is_file() for end in endings)]
    log.info("%d files, %d of them done before", len(targets), len(targets) - len(todo))
    if todo:
        sink = CloudWriter(targets, networks.label_map, config.ply)
        task = PredictionTask(
            Voter(networks.networks, views, networks.voxel_size), networks.label_map.num_classes, [sink]
        )
        trainer = eval_trainer(config, precision_of(networks))
        data = CloudData(CloudDataset(todo, networks.voxel_size, scale), config.num_workers)
        trainer.predict(task, datamodule=data, return_predictions=False)
    log.info("labels are in %s", output)
    return {"files": len(targets), "predicted": len(todo), "before": len(targets) - len(todo)}


class CloudWriter:
    """Writes ``.label`` (raw ids, uint32) for each cloud, and on request a ``.ply`` in the colours of the classes.

    Args:
        targets: Output path of each input file, with any ending.
        label_map: Train ids to raw ids and colours.
        ply: Whether to write the coloured cloud.
    """

    def __init__(self, targets: dict[Path, Path], label_map: LabelMap, ply: bool) -> None:
        self.targets, self.label_map, self.ply = targets, label_map, ply

    def __call__(self, scan: PredictedScan) -> None:
        """Write one cloud."""
        source = Path(scan.scan_id)
        target = self.targets[source]
        if self.ply:
            write_ply(target.with_suffix(".ply"), read_cloud(source).xyz, self.label_map.colours[scan.predictions])
        write_labels(target.with_suffix(".label"), self.label_map.to_raw(scan.predictions))


def plan(source: Path, output: Path) -> dict[Path, Path]:
    """The output path, without its ending, of every input file; folders below the input come again below the output.

    Raises:
        UserError: There is nothing to read, or two files would have one output.
    """
    if source.is_file():
        files = [source]
    elif source.is_dir():
        found = (path for path in sorted(source.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file())
        inside = output.resolve() != source.resolve()  # what an earlier run wrote is no input
        files = [path for path in found if not (inside and path.resolve().is_relative_to(output.resolve()))]
    else:
        raise UserError(f"input={source}: no such file or folder; give a point cloud or a folder of them")
    if not files:
        raise UserError(f"input={source}: no point cloud in it; expected files that end with {', '.join(SUFFIXES)}")
    base = source if source.is_dir() else source.parent
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    for file in files:
        target = (output / file.relative_to(base)).with_suffix(".label")
        if target in taken:
            raise UserError(f"{taken[target]} and {file} would both be written to {target}; rename one of them")
        targets[file] = taken[target] = target
    return targets


def settings(config: DictConfig, networks: Networks, remission_scale: float) -> dict[str, Any]:
    """What decides on the labels, to tell whether an earlier run can be gone on with."""
    return {
        "checkpoints": [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in networks.paths],
        "tta": config.tta,
        "remission_scale": remission_scale,
        "precision": config.precision,
    }


def prepare(output: Path, used: dict[str, Any]) -> None:
    """Remove what a killed run left half-written, and write down the settings in ``predict.json``.

    Raises:
        UserError: The folder holds predictions made with other settings.
    """
    record = output / "predict.json"
    if record.is_file():
        earlier = json.loads(record.read_text())
        differ = [key for key in used if earlier.get(key) != used[key]]
        if differ:
            raise UserError(
                f"output={output} holds predictions made with other {', '.join(differ)} (see {record}); "
                "choose another folder, or remove it to predict anew"
            )
    for leftover in output.rglob(".*.tmp"):
        leftover.unlink(missing_ok=True)
    write_file(record, json.dumps(used, indent=2) + "\n")
