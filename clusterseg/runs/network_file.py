"""A network for others in one safetensors file: weights, and in the metadata what they need to be used.

Such a file is read without unpickling. It holds the backbone under the names of a checkpoint, and as JSON texts the
configuration of the training, reduced to what `evaluate`, `predict` and a reader of the card ask for, and the inputs
(features, voxel size, label map with class names).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clusterseg.backbone.safetensors_file import read_metadata, read_safetensors, safetensors_bytes
from clusterseg.errors import UserError, error_line

VERSION = "1"
#: Parts of a training's configuration that the file repeats whole.
KEPT = ("seed", "loss", "optim", "data")
KEPT_OF_TRAINER = ("precision", "max_epochs", "max_steps", "accumulate_grad_batches", "gradient_clip_val")


def network_file(checkpoint: Mapping[str, Any], inputs: Mapping[str, Any], half: bool) -> bytes:
    """Encode the backbone of a checkpoint.

    Args:
        checkpoint: The content of a checkpoint.
        inputs: What the network takes, see `Inputs.plain`.
        half: Whether floating-point numbers are stored in 16 bits; they are read as 32 bits again.

    Raises:
        UserError: A number is too large for 16 bits.
    """
    weights = {name: v for name, v in checkpoint["state_dict"].items() if name.startswith("backbone.")}
    metadata = {
        "clusterseg": VERSION,
        "config": json.dumps(without_places(reduced(checkpoint["config"]))),
        "inputs": json.dumps(dict(inputs)),
    }
    return safetensors_bytes(halved(weights) if half else weights, metadata)


def halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with floating-point numbers in 16 bits.

    Raises:
        UserError: A number is too large for that.
    """
    found = {name: v.half() if v.is_floating_point() else v for name, v in weights.items()}
    lost = [name for name, v in found.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if lost:
        raise UserError(
            f"half=true: {lost[0]} holds numbers beyond {torch.finfo(torch.float16).max:.0f}; write it with half=false"
        )
    return found


def reduced(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a training's configuration that concern the network and how it was trained."""
    found = {key: config[key] for key in KEPT if key in config}
    found["model"] = {"backbone": config["model"]["backbone"], "cluster": None}
    trainer = config.get("trainer") or {}
    return found | {"trainer": {key: trainer[key] for key in KEPT_OF_TRAINER if key in trainer}}


def without_places(settings: Any) -> Any:
    """Return settings with each absolute path, a place on the machine of the training, replaced by None."""
    if isinstance(settings, Mapping):
        return {name: without_places(value) for name, value in settings.items()}
    if isinstance(settings, list | tuple):
        return [without_places(value) for value in settings]
    return None if isinstance(settings, str) and Path(settings).is_absolute() else settings


def read_network_file(file: Path) -> dict[str, Any]:
    """Read a file of `network_file` as the content of a checkpoint: state_dict in 32 bits, config, inputs.

    Raises:
        UserError: The file is damaged, or is no network of clusterseg.
    """
    try:
        metadata, weights = read_metadata(file), read_safetensors(file)
        texts = {key: json.loads(metadata[key]) for key in ("config", "inputs") if key in metadata}
    except Exception as error:  # a damaged file can raise any error
        raise UserError(f"ckpt={file} cannot be read: {error_line(error)}; the file may be cut short") from None
    whole = [key for key, value in texts.items() if isinstance(value, dict)]
    if metadata.get("clusterseg") != VERSION or whole != ["config", "inputs"]:
        raise UserError(
            f"ckpt={file} is no network of clusterseg: expected safetensors with config and inputs in its metadata, as "
            "clusterseg export format=clusterseg writes; weights alone are read by model.init_from=FILE"
        )
    state = {name: v.float() if v.is_floating_point() else v for name, v in weights.items()}
    return {"state_dict": state, "config": texts["config"], "inputs": texts["inputs"]}
