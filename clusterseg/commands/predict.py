"""Label point clouds of any format: `clusterseg predict ckpt=PATH input=FILE_OR_FOLDER output=DIR`."""

from __future__ import annotations

import hashlib
import logging
import shlex
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.build.ensemble import Networks, read_networks
from clusterseg.build.evaluation import precision_of, trusted
from clusterseg.build.refusals import check_trainer
from clusterseg.build.trainer import eval_trainer
from clusterseg.config.signatures import require
from clusterseg.data.clouds import Layout, choose_layout, read_cloud
from clusterseg.data.clouds.bag import is_message
from clusterseg.data.clouds.origin import check_origin
from clusterseg.data.clouds.scale import choose_remission_scale
from clusterseg.data.label_map import LabelMap, shipped_maps
from clusterseg.data.multiscan import AGE
from clusterseg.distributed import gather_objects, rank
from clusterseg.errors import UserError
from clusterseg.predict.blocks import Blocks
from clusterseg.predict.cloud_data import CloudData, CloudDataset
from clusterseg.predict.labelled_bag import bag_files, write_labelled
from clusterseg.predict.left_out import LeftOut, report
from clusterseg.predict.output import OutputFolder
from clusterseg.predict.prediction import PredictionTask
from clusterseg.predict.targets import plan
from clusterseg.predict.views import choose_views
from clusterseg.predict.voter import Voter
from clusterseg.predict.writer import CloudWriter, check_invalid

log = logging.getLogger("clusterseg")


def predict(config: DictConfig, run_dir: Path) -> dict[str, int]:
    """Predict every point of `config.input` and write raw labels under `config.output`, one file per cloud.

    Files that already exist are not predicted again, so an interrupted run continues where it stopped. Inputs, and
    files not written by a prediction, are never replaced.

    Returns:
        Number of files in total, predicted by this call, and predicted before.

    Raises:
        UserError: A setting is wrong, or clouds could not be predicted; the others are, unless `config.strict`.
    """
    for key in ("input", "output"):
        if config[key] is None:
            raise UserError(f"{key} is not set; python predict.py ckpt=PATH input=FILE_OR_FOLDER output=DIR")
    check_trainer(config)
    check_invalid(config.invalid)
    check_origin(_plain(config.origin))
    require(config, topic=str | None, bag=bool)
    targets = plan(Path(config.input).expanduser(), Path(config.output).expanduser(), config.topic)
    networks = read_networks(config.ckpt, trusted(config))
    features = networks.features
    blocks = Blocks.of(config.block_voxels, config.overlap, networks.voxel_size)
    layout = replace(choose_layout(_plain(config.columns), config.format, features), topic=config.topic)
    refuse_single_scans(next(iter(targets)), layout)
    if config.strict:
        for file in targets:
            read_cloud(file, layout)
    scale = choose_remission_scale(list(targets), config.remission, layout)
    endings = (".label", ".ply") if config.ply else (".label",)
    wanted = [target.with_suffix(ending) for target in targets.values() for ending in endings]
    bags = bag_files(targets) if config.bag else {}
    wanted += [file for files in bags.values() for file in files]
    inputs = dict.fromkeys((*targets, *(file.parent for file in targets if is_message(file))))
    output = OutputFolder(Path(config.output).expanduser(), inputs, wanted)
    with output.claimed(settings(config, networks, features, scale)) if _is_first() else nullcontext():
        done = {file: all(target.with_suffix(end).is_file() for end in endings) for file, target in targets.items()}
        todo = [file for file in targets if not done[file]]
        log.info("%d file%s, %d done before", len(targets), "s" * (len(targets) != 1), len(targets) - len(todo))
        writer = CloudWriter(output, targets, networks.label_map, config.ply, layout, config.invalid)
        dataset = CloudDataset(todo, networks.voxel_size, scale, features, layout, _plain(config.origin), config.strict)
        left_out = run(config, networks, dataset, writer, blocks) if todo else []
        for recording, files in bags.items() if rank() == 0 else ():
            if any(file.parent == recording for file in todo) or not all(file.is_file() for file in files):
                write_labelled(output, recording, config.topic, targets, networks.label_map)
    labelled = next((pair for pair in targets.items() if pair[1].with_suffix(".label").is_file()), None)
    if labelled is not None:
        first, target = labelled
        hint = "" if is_message(first) else f"; to look at them: {viewing(layout, first, target, networks.label_map)}"
        log.info("labels are in %s%s", config.output, hint)
    if left_out:
        raise UserError(report(left_out, len(targets)))
    return {"files": len(targets), "predicted": len(todo), "before": len(targets) - len(todo)}


def refuse_single_scans(first: Path, layout: Layout) -> None:
    """Refuse files of one scan each if the network takes several scans.

    Raises:
        UserError: The network takes the age of each point, which the first file does not have.
    """
    if AGE not in layout.features:
        return
    try:
        cloud = read_cloud(first, layout)
    except UserError:  # reported with the others
        return
    if AGE not in cloud.fields:
        raise UserError(
            f"{first}: has no field {AGE}; the network was trained on several scans in one (data.window), and predict "
            "labels one file at a time: label a sequence with its poses by python evaluate.py ckpt=PATH split=test "
            f"data.root=DIR data.sequences.test=[NN], or give files of merged scans with a field {AGE}, the seconds "
            f"from a point's scan to the newest (columns=[x,y,z,remission,{AGE}] for .bin and .npy)"
        )


def run(
    config: DictConfig, networks: Networks, dataset: CloudDataset, writer: CloudWriter, blocks: Blocks | None
) -> list[LeftOut]:
    """Predict the clouds of a dataset; on rank 0 return the clouds of all ranks that failed.

    Raises:
        UserError: A setting is wrong, or the output cannot be written.
    """
    voter = Voter(networks.networks, choose_views(config.tta), networks.voxel_size, blocks)
    task = PredictionTask(voter, networks.label_map.num_classes, [writer])
    trainer = eval_trainer(config, precision_of(networks))
    trainer.predict(task, datamodule=CloudData(dataset, config.num_workers), return_predictions=False)
    parts = gather_objects((writer.unplaced, writer.unlit, task.left_out))
    if rank() != 0:  # only rank 0 reports
        return []
    tell(sum(part[0] for part in parts), sum(part[1] for part in parts), config.invalid)
    return [entry for part in parts for entry in part[2]]


def tell(unplaced: int, unlit: int, invalid: str) -> None:
    """Log how points with values that are not finite were treated."""
    if unplaced:
        given = "label 0 (unlabeled)" if invalid == "unlabeled" else "the label of the nearest point in the file"
        other = "nearest" if invalid == "unlabeled" else "unlabeled"
        log.warning("%d points have no finite position and got %s; see invalid=%s", unplaced, given, other)
    if unlit:
        log.warning("%d points have no finite remission (NaN); the median of their cloud, or 0, is taken for it", unlit)


def settings(config: DictConfig, networks: Networks, features: tuple[str, ...], scale: float) -> dict[str, Any]:
    """Return the settings that determine the labels, to check whether an earlier run can be continued."""
    return {
        "checkpoints": [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in networks.paths],
        "tta": config.tta,
        "remission_scale": scale,
        "precision": config.trainer.precision,
        "features": list(features),
        "columns": _plain(config.columns),
        "format": config.format,
        "topic": config.topic,
        "origin": _plain(config.origin),
        "invalid": config.invalid,
        "blocks": None if config.block_voxels is None else [config.block_voxels, config.overlap],
    }


def viewing(layout: Layout, cloud: Path, target: Path, label_map: LabelMap) -> str:
    """The command line that shows a labelled cloud."""
    words = ["clusterseg", "viewer", str(cloud), f"predictions={target.with_suffix('.label')}", "output=viewer.html"]
    if layout.columns is not None:
        words.append(f"columns=[{','.join(layout.columns)}]")
    if label_map.name != "semantickitti":
        words.append(f"label_map={label_map.name if label_map.name in shipped_maps() else 'YOURS.yaml'}")
    return shlex.join(words)


def _plain(setting: Any) -> Any:
    return OmegaConf.to_container(setting) if OmegaConf.is_config(setting) else setting


def _is_first() -> bool:
    """Whether this process is rank 0, which claims the files; the other ranks start later and write them."""
    return not getattr(rank_zero_only, "rank", 0)
