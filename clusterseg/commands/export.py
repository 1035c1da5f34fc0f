"""Export weights for other projects: `clusterseg export ckpt=PATH output=FILE`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from clusterseg.backbone.foreign import PROJECTS
from clusterseg.backbone.foreign.export import foreign_state, wrapped
from clusterseg.backbone.safetensors_file import safetensors_bytes
from clusterseg.build.ensemble import build_network
from clusterseg.build.evaluation import trusted
from clusterseg.data.inputs import Inputs
from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.runs.checkpoint import AtomicCheckpointIO, read_checkpoint

log = logging.getLogger("clusterseg")


def export(config: DictConfig, run_dir: Path) -> dict[str, Tensor]:
    """Write the weights of `config.ckpt` in the format of the project `config.format`.

    Returns:
        The state dict.

    Raises:
        UserError: A setting or a file is wrong.
    """
    if config.format not in PROJECTS:
        raise UserError(
            f"format={config.format}: expected {', '.join(PROJECTS)}. The layers of a sparse network depend on where "
            "the scan's voxels lie, which TorchScript and ONNX have no operators for"
        )
    path = Path(str(config.ckpt)).expanduser()
    checkpoint = read_checkpoint(path)
    output = output_file(config.output, path, "the checkpoint")
    prefix = "cluster.proj."
    weights = checkpoint["state_dict"]
    proj = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    network = build_network(str(path), checkpoint, Inputs.of_checkpoint(checkpoint), trusted(config), "native")
    state = foreign_state(network, config.format, proj)
    if output.suffix == ".safetensors":
        write_file(output, safetensors_bytes(state))
    else:
        save(output, wrapped(state, PROJECTS[config.format]))
    log.info("wrote %s: %d tensors, %s numbers", output, len(state), f"{sum(v.numel() for v in state.values()):,}")
    return state


def output_file(setting: Any, source: Path, noun: str) -> Path:
    """Return the file to write.

    Raises:
        UserError: The path is a folder or the input file.
    """
    output = Path(str(setting)).expanduser()
    if output.is_dir():
        raise UserError(f"output={output} is a folder; give the path of the file to write")
    if output.exists() and output.samefile(source):
        raise UserError(f"output={output} is {noun} itself; give another path")
    return output


def save(output: Path, content: dict[str, Any]) -> None:
    """Write a file of tensors atomically.

    Raises:
        UserError: It cannot be written.
    """
    try:
        AtomicCheckpointIO().save_checkpoint(content, output)
    except OSError as error:
        raise UserError(f"output={output} cannot be written ({error.strerror}); give another path") from None
