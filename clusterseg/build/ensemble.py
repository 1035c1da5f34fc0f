"""Read the networks of one or several checkpoints for prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import ListConfig

from clusterseg.backbone import Backbone
from clusterseg.backbone.shipped import weights_path
from clusterseg.config.trusted import build_trusted
from clusterseg.data.inputs import Inputs
from clusterseg.data.label_map import LabelMap
from clusterseg.errors import UserError
from clusterseg.runs.checkpoint import backbone_weights, read_checkpoint


@dataclass(frozen=True, eq=False)
class Networks:
    """An ensemble: networks that predict the same classes from the same voxels.

    Attributes:
        paths: The checkpoints.
        config: The training configuration of the first checkpoint, as plain containers. It comes from a file, so
            build objects from it only by `build_trusted`.
        networks: The backbones alone, without heads.
        inputs: Features, voxel size and classes shared by all.
    """

    paths: tuple[str, ...]
    config: Mapping[str, Any]
    networks: tuple[Backbone, ...]
    inputs: Inputs

    @property
    def label_map(self) -> LabelMap:
        """The classes."""
        return self.inputs.label_map

    @property
    def voxel_size(self) -> float:
        """Edge of a voxel in metres."""
        return self.inputs.voxel_size

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the input channels."""
        return self.inputs.features


def checkpoint_paths(setting: Any) -> tuple[str, ...]:
    """Return the paths in `ckpt=PATH` or `ckpt=[A,B]`; a name is that of a network of the package.

    Raises:
        UserError: No path is given.
    """
    paths = list(setting) if isinstance(setting, (ListConfig, list, tuple)) else [setting]
    if not paths or None in paths:
        raise UserError("ckpt is not set; give the path of a checkpoint, as ckpt=outputs/RUN/checkpoints/best.ckpt")
    return tuple(str(weights_path(str(path), "ckpt")) for path in paths)


def read_networks(setting: Any, trust: Sequence[str] = ()) -> Networks:
    """Read `ckpt=PATH`, or the ensemble `ckpt=[A,B]`.

    Args:
        setting: A path, or several.
        trust: Modules whose classes a checkpoint may name besides those of clusterseg.

    Raises:
        UserError: A file is wrong, names a class that is not trusted, or the checkpoints do not predict the same
            classes from the same voxels.
    """
    paths = checkpoint_paths(setting)
    checkpoints = [read_checkpoint(path) for path in paths]
    inputs = [Inputs.of_checkpoint(checkpoint) for checkpoint in checkpoints]
    for path, other in zip(paths, inputs, strict=True):
        if other.plain() != inputs[0].plain():
            raise UserError(
                f"ckpt={path} was trained with {_shown(other)}, {paths[0]} with {_shown(inputs[0])}; an ensemble needs "
                "the same in all"
            )
    networks = (build_network(*pair, inputs[0], trust) for pair in zip(paths, checkpoints, strict=True))
    return Networks(paths, checkpoints[0]["config"], tuple(networks), inputs[0])


def _shown(inputs: Inputs) -> str:
    return (
        f"data.label_map={inputs.label_map.name}, data.voxel_size={inputs.voxel_size}, "
        f"features {', '.join(inputs.features)}"
    )


def build_network(
    path: str, checkpoint: Mapping[str, Any], inputs: Inputs, trust: Sequence[str] = (), engine: str | None = None
) -> Backbone:
    """Build the network of a checkpoint, with its weights.

    Args:
        path: The checkpoint, for messages.
        checkpoint: Its content.
        inputs: Expected input of the network.
        trust: See `read_networks`.
        engine: Engine of the sparse convolutions; None takes that of the training, or `native` without a GPU.

    Raises:
        UserError: The checkpoint names a class that is not trusted, or its weights do not fit.
    """
    weights = backbone_weights(checkpoint)
    bias = weights.get("classifier.linear.bias")
    if bias is not None and bias.numel() != inputs.label_map.num_classes:
        raise UserError(
            f"ckpt={path} predicts {bias.numel()} classes, the data has {inputs.label_map.num_classes} "
            f"({inputs.label_map.name}); use data with the classes that it was trained on"
        )
    settings = dict(checkpoint["config"]["model"]["backbone"])
    if "backend" in settings:  # a network of another package may lack this setting
        settings["backend"] = engine or (settings["backend"] if torch.cuda.is_available() else "native")
    sizes = {"in_channels": len(inputs.features), "num_classes": inputs.label_map.num_classes}
    backbone: Any = build_trusted(settings, trust, f"ckpt={path}", "model.backbone", **sizes)
    if not isinstance(backbone, Backbone):
        raise UserError(f"ckpt={path}: model.backbone is a {type(backbone).__name__}, expected a Backbone")
    try:
        backbone.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"ckpt={path} does not fit its own network: {error}") from None
    return backbone
