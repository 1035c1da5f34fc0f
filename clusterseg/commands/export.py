"""Weights for other programs: `python -m clusterseg.commands.export ckpt=PATH format=torchsparse output=FILE`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from clusterseg.build.assembly import build_backbone
from clusterseg.backbone import Backbone
from clusterseg.backbone.published import published_state
from clusterseg.runs.checkpoint import AtomicCheckpointIO, backbone_weights, read_checkpoint
from clusterseg.commands.hydra_command import command
from clusterseg.errors import UserError

log = logging.getLogger("clusterseg")


def export(config: DictConfig, run_dir: Path) -> dict[str, Tensor]:
    """Write the weights of ``config.ckpt`` as ``{"model": state_dict}`` for the original code with TorchSparse.

    Returns:
        The state dict.

    Raises:
        UserError: A setting or a file is wrong.
    """
    if config.format != "torchsparse":
        raise UserError(
            f"format={config.format}: expected torchsparse. The layers of a sparse network depend on where the scan's "
            "voxels lie, which TorchScript and ONNX have no operators for"
        )
    checkpoint = read_checkpoint(config.ckpt)
    output = Path(str(config.output)).expanduser()
    if output.is_dir():
        raise UserError(f"output={output} is a folder; give the path of the file to write")
    if output.exists() and output.samefile(config.ckpt):
        raise UserError(f"output={output} is the checkpoint itself; give another path")
    prefix = "cluster.proj."
    weights = checkpoint["state_dict"]
    proj = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    state = published_state(trained_backbone(checkpoint, str(config.ckpt)), proj)
    try:
        AtomicCheckpointIO().save_checkpoint({"model": state}, output)
    except OSError as error:
        raise UserError(f"output={output} cannot be written ({error.strerror}); give another path") from None
    log.info("wrote %s: %d tensors, %s numbers", output, len(state), f"{sum(v.numel() for v in state.values()):,}")
    return state


def trained_backbone(checkpoint: dict[str, Any], path: str) -> Backbone:
    """The network of a checkpoint, with its weights.

    Raises:
        UserError: The weights do not fit the network of the checkpoint's configuration.
    """
    weights = backbone_weights(checkpoint)
    try:
        classes, in_channels = weights["classifier.linear.bias"].numel(), weights["stem.0.kernel"].shape[1]
        config = OmegaConf.create(checkpoint["config"])
        config.model.backbone.backend = "native"  # the engine of the training may not be installed here
        backbone = build_backbone(config, in_channels, classes)
        backbone.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise UserError(f"ckpt={path} does not fit its own network: {error}") from None
    return backbone


if __name__ == "__main__":
    command("export", export)
