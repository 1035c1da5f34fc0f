"""Build the parts of an evaluation from its configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader

from clusterseg.build.ensemble import Networks, read_networks
from clusterseg.build.refusals import check_trainer
from clusterseg.build.task import plain
from clusterseg.build.trainer import eval_trainer
from clusterseg.config.signatures import mistakes
from clusterseg.config.trusted import build_trusted, require_trusted
from clusterseg.data.batch import Batch
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.label_map import load_label_map, shipped_maps
from clusterseg.data.multiscan import AGE
from clusterseg.errors import UserError
from clusterseg.predict.views import View, choose_views

#: Settings of the data that are fixed by the training.
TRAINED_ON = ("voxel_size", "label_map")


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of an evaluation.

    Attributes:
        networks: The checkpoints.
        data: The scans.
        views: Views of each scan for test-time augmentation.
        trainer: The Trainer that runs it.
    """

    networks: Networks
    data: ScanDataModule
    views: tuple[View, ...]
    trainer: pl.Trainer


def build(config: DictConfig, checkpoints: Any) -> Parts:
    """Build the parts of an evaluation of one checkpoint, or of several as an ensemble.

    Raises:
        UserError: A setting or a file is wrong.
    """
    check_trainer(config)
    views = choose_views(config.tta)
    trust = trusted(config)
    networks = read_networks(checkpoints, trust)
    data = build_data(plain(config)["data"], networks, trust)
    return Parts(networks, data, views, eval_trainer(config, precision_of(networks)))


def trusted(config: DictConfig) -> tuple[str, ...]:
    """Return the modules that the user trusts: `trust=[my_package]`."""
    return tuple(str(module) for module in config.get("trust") or ())


def precision_of(networks: Networks) -> str:
    """Return the precision that the first network was trained in."""
    trainer = networks.config.get("trainer") or {}
    return str(trainer.get("precision", "32-true"))


def build_data(changes: Mapping[str, Any], networks: Networks, trust: Sequence[str] = ()) -> ScanDataModule:
    """Build the data module of the first checkpoint, with some settings changed.

    Args:
        changes: Settings of the data; a value of None, at any depth, keeps that of the checkpoint. With `_target_` they
            are those of another data set, see `other_data`.
        networks: The checkpoints.
        trust: See `build_trusted`.

    Raises:
        UserError: A setting is wrong.
    """
    source = f"ckpt={networks.paths[0]}"
    given = _without_none(changes)
    if "_target_" in given:
        return other_data(given, networks, trust)
    for key in TRAINED_ON:
        if key in given:
            raise UserError(f"data.{key} cannot be set here: the network was trained with its own; leave it out")
    trained = dict(networks.config["data"])
    if "root" in given and "root" not in trained and "root" in (trained.get("reader") or {}):
        given["reader"] = {**given.get("reader", {}), "root": given.pop("root")}
    if "root" in given:
        given["root"] = str(Path(str(given["root"])).expanduser())
    settings = _merged(trained, given)
    settings |= {"keep_points": True, "augmentation": None, "label_map": networks.inputs.label_map.table}
    require_trusted(settings, trust, source, "data")
    if settings.get("root", "") is None:
        raise UserError(f"data.root is not set, and {source} names no folder; give that of the scans: data.root=DIR")
    wrong = [*mistakes({key: settings[key] for key in ("_target_", *given) if key in settings}, "data")]
    if wrong:
        raise UserError("\n".join(wrong))
    data = build_trusted(settings, trust, source, "data")
    if not isinstance(data, ScanDataModule):
        raise UserError(f"{source}: data is a {type(data).__name__}, expected a ScanDataModule")
    require_features(data, networks, source)
    return data


def other_data(settings: Mapping[str, Any], networks: Networks, trust: Sequence[str] = ()) -> ScanDataModule:
    """Build the data module of another data set than the training's, with voxels as in training.

    Its label map must have the classes of the networks: it is a mapping onto them, or their own.

    Args:
        settings: All settings of the data set, as those of a training.
        networks: The checkpoints.
        trust: See `build_trusted`.

    Raises:
        UserError: A setting is wrong, or the data set has other classes or other channels than the networks.
    """
    label_map = load_label_map(settings.get("label_map") or networks.label_map.table)
    if label_map.class_names != networks.label_map.class_names:
        fitting = [
            name for name in shipped_maps() if load_label_map(name).class_names == networks.label_map.class_names
        ]
        raise UserError(
            f"data.label_map={label_map.name} has the classes {', '.join(label_map.class_names)}; ckpt="
            f"{networks.paths[0]} predicts {', '.join(networks.label_map.class_names)}; give a mapping onto these"
            + (f": one of {', '.join(fitting)}" if fitting else ", see docs/data.md")
        )
    wanted = {**settings, "voxel_size": networks.voxel_size, "keep_points": True, "augmentation": None}
    wrong = [*mistakes(wanted, "data")]
    if wrong:
        raise UserError("\n".join(wrong))
    data = build_trusted(wanted, trust, "data", "data")
    if not isinstance(data, ScanDataModule):
        raise UserError(f"data._target_={settings['_target_']}: expected a ScanDataModule")
    require_features(data, networks, f"ckpt={networks.paths[0]}")
    return data


def require_features(data: ScanDataModule, networks: Networks, source: str) -> None:
    """Check that the data has the channels that a network takes.

    Raises:
        UserError: It has others.
    """
    has, takes = tuple(data.reader.features), networks.features
    if has != takes:
        remedy = "leave data.window out" if AGE in (*has, *takes) else "evaluate it on data with the same channels"
        raise UserError(f"{source} takes {', '.join(takes)}, the data has {', '.join(has)}; {remedy}")


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Remove values of None at any depth, and mappings that are empty afterwards."""
    given = {
        name: _without_none(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }
    return {name: value for name, value in given.items() if value != {}}


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        below = merged.get(name)
        merged[name] = _merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


class SplitData(pl.LightningDataModule):
    """One split of a data module as validation data of a Trainer; scans are distributed over the ranks.

    Args:
        data: A data module with `eval_dataloader`.
        split: Name of the split, see `eval_dataloader`.
    """

    def __init__(self, data: ScanDataModule, split: str) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer scans than ranks are allowed
        self.data, self.split = data, split

    def val_dataloader(self) -> DataLoader[Any]:
        """Every scan of the split once, over all ranks together."""
        self.data.trainer = self.trainer
        loader: DataLoader[Any] = self.data.eval_dataloader(self.split)
        return loader

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Copy a batch to the device without waiting for the copy."""
        moved: Batch = self.data.transfer_batch_to_device(batch, device, dataloader_idx)
        return moved
