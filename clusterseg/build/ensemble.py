"""The networks of one or several checkpoints, ready to predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf

from clusterseg.build.assembly import build_backbone
from clusterseg.backbone import Backbone
from clusterseg.runs.checkpoint import backbone_weights, read_checkpoint
from clusterseg.data.label_map import LabelMap, load_label_map
from clusterseg.errors import UserError

IN_CHANNELS = 4  # x, y, z, remission


@dataclass(frozen=True, eq=False)
class Networks:
    """Networks that predict the same classes from the same voxels.

    Attributes:
        paths: The checkpoints.
        config: The configuration that the first was trained with.
        networks: The backbones alone, without heads.
        label_map: The classes.
        voxel_size: Edge of a voxel in metres.
    """

    paths: tuple[str, ...]
    config: DictConfig
    networks: tuple[Backbone, ...]
    label_map: LabelMap
    voxel_size: float


def checkpoint_paths(setting: Any) -> tuple[str, ...]:
    """The paths in ``ckpt=PATH`` or ``ckpt=[A,B]``.

    Raises:
        UserError: There is none.
    """
    paths = list(setting) if isinstance(setting, (ListConfig, list, tuple)) else [setting]
    if not paths or None in paths:
        raise UserError("ckpt is not set; give the path of a checkpoint, as ckpt=outputs/RUN/checkpoints/best.ckpt")
    return tuple(str(path) for path in paths)


def read_networks(setting: Any) -> Networks:
    """Read ``ckpt=PATH``, or the ensemble ``ckpt=[A,B]``.

    Raises:
        UserError: A file is wrong, or the checkpoints do not predict the same classes from the same voxels.
    """
    paths = checkpoint_paths(setting)
    first: tuple[Any, ...] | None = None
    networks = []
    for path in paths:
        checkpoint = read_checkpoint(path)
        config = OmegaConf.create(checkpoint["config"])
        data = config.get("data") or {}
        inputs = (str(data.get("label_map", "semantickitti")), float(data.get("voxel_size", 0.05)))
        first = first or (config, inputs)
        if inputs != first[1]:
            raise UserError(
                f"ckpt={path} was trained with data.label_map={inputs[0]}, data.voxel_size={inputs[1]}, "
                f"{paths[0]} with {first[1][0]}, {first[1][1]}; an ensemble needs the same in all"
            )
        networks.append(_build(config, checkpoint, load_label_map(inputs[0]), path))
    assert first is not None
    return Networks(paths, first[0], tuple(networks), load_label_map(first[1][0]), first[1][1])


def _build(config: DictConfig, checkpoint: dict[str, Any], label_map: LabelMap, path: str) -> Backbone:
    weights = backbone_weights(checkpoint)
    bias = weights.get("classifier.linear.bias")
    if bias is not None and bias.numel() != label_map.num_classes:
        raise UserError(
            f"ckpt={path} predicts {bias.numel()} classes, the data has {label_map.num_classes} "
            f"({label_map.name}); use data with the classes that it was trained on"
        )
    if not torch.cuda.is_available():
        config.model.backbone.backend = "native"  # the engine of the training may need a GPU
    backbone = build_backbone(config, IN_CHANNELS, label_map.num_classes)
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"ckpt={path} does not fit its own network: {error}") from None
    return backbone
