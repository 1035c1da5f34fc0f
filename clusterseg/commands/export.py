"""Export weights for other programs, or a network for others: `clusterseg export ckpt=PATH output=FILE`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from clusterseg.backbone.foreign import PROJECTS
from clusterseg.backbone.foreign.export import foreign_state, wrapped
from clusterseg.backbone.safetensors_file import read_safetensors, safetensors_bytes
from clusterseg.backbone.shipped import weights_path
from clusterseg.build.ensemble import build_network
from clusterseg.build.evaluation import trusted
from clusterseg.data.inputs import Inputs
from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.runs.checkpoint import AtomicCheckpointIO, read_checkpoint
from clusterseg.runs.network_file import network_file

#: The format of a network for others.
OURS = "clusterseg"
log = logging.getLogger("clusterseg")


def export(config: DictConfig, run_dir: Path) -> dict[str, Tensor]:
    """Write the weights of `config.ckpt` in the format of the project `config.format`, or as a network for others.

    Returns:
        The state dict.

    Raises:
        UserError: A setting or a file is wrong.
    """
    if config.format not in (OURS, *PROJECTS):
        raise UserError(
            f"format={config.format}: expected {', '.join((OURS, *PROJECTS))}. The layers of a sparse network depend "
            "on where the scan's voxels lie, which TorchScript and ONNX have no operators for"
        )
    path = weights_path(str(config.ckpt), "ckpt")
    checkpoint = read_checkpoint(path)
    output = output_file(config.output, path, "the checkpoint")
    write = own if config.format == OURS else foreign
    state = write(config, path, checkpoint, output)
    log.info("wrote %s: %d tensors, %s numbers", output, len(state), f"{sum(v.numel() for v in state.values()):,}")
    return state


def own(config: DictConfig, path: Path, checkpoint: Mapping[str, Any], output: Path) -> dict[str, Tensor]:
    """Write the network of a checkpoint with its settings; `predict`, `evaluate` and `model.init_from` read the file.

    Raises:
        UserError: The file is not to be a safetensors file, or the network does not fit its settings.
    """
    if output.suffix != ".safetensors":
        raise UserError(f"output={output}: format={OURS} is written as safetensors; give a name that ends in it")
    inputs = Inputs.of_checkpoint(checkpoint)
    build_network(str(path), checkpoint, inputs, trusted(config), "native")
    write_file(output, network_file(checkpoint, inputs.plain(), half=bool(config.half)))
    return dict(read_safetensors(output))


def foreign(config: DictConfig, path: Path, checkpoint: Mapping[str, Any], output: Path) -> dict[str, Tensor]:
    """Write the weights of a checkpoint for the code of another project.

    Raises:
        UserError: The project has no such network, or its files are not in 16 bits.
    """
    if config.half:
        raise UserError(f"half=true is for format={OURS}; the format {config.format} is written in 32 bits")
    prefix = "cluster.proj."
    weights = checkpoint["state_dict"]
    proj = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    network = build_network(str(path), checkpoint, Inputs.of_checkpoint(checkpoint), trusted(config), "native")
    state = foreign_state(network, config.format, proj)
    if output.suffix == ".safetensors":
        write_file(output, safetensors_bytes(state))
    else:
        save(output, wrapped(state, PROJECTS[config.format]))
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
