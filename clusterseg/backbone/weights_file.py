"""Read untrusted weights files without executing code."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clusterseg.backbone.foreign import Weights, recognised
from clusterseg.backbone.foreign.inert import bookkeeping_is_inert
from clusterseg.backbone.safetensors_file import is_safetensors, read_metadata, read_safetensors
from clusterseg.backbone.shipped import weights_path
from clusterseg.errors import UserError

#: Entries under which training programs store the weights; the second is Lightning's.
CONTAINERS = ("model", "state_dict", "model_state")
#: A tensor name that identifies weights of SPVNAS, the original's and ours.
SPVNAS_MARK = "downsample.0.transition.net.conv.kernel"
#: Beginnings of names that data parallelism and torch.compile add.
WRAPPERS = ("module.", "_orig_mod.")


def read_weights(path: str | Path) -> Weights:
    """Read a published checkpoint, one of another project or one of `train.py`, with `weights_only=True`.

    Prefixes of wrappers are removed: `module.` of data parallelism, `backbone.` of our checkpoints. In our checkpoints
    `cluster.proj.` becomes `proj.` and other training state is dropped. Weights of other projects are renamed to the
    names of mit-han-lab/spvnas, see :mod:`clusterseg.backbone.foreign`.

    Raises:
        UserError: The file is missing, damaged, holds more than tensors and plain values, or no weights.
    """
    file = weights_path(path, "model.init_from")
    whole = _load(file)
    content, container = _opened(whole)
    if not isinstance(content, Mapping):
        raise UserError(f"model.init_from={path} holds a {type(content).__name__}, expected a state dict")
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not weights:
        keys = ", ".join(map(str, list(content)[:5])) or "nothing"
        raise UserError(
            f"model.init_from={path} holds no tensors ({keys}), expected a state dict, bare or under "
            f"{', '.join(CONTAINERS)}"
        )
    weights = {_unwrapped(name): value for name, value in weights.items()}
    found = recognised(weights, container, path) or _own(weights)
    return replace(found, class_names=class_names(_inputs(whole, file)))


def class_names(inputs: Any) -> tuple[str, ...] | None:
    """Return the names of the classes in the inputs that a checkpoint of ours stores; None if there are none."""
    table = inputs.get("label_map") if isinstance(inputs, Mapping) else None
    classes = table.get("classes") if isinstance(table, Mapping) else None
    return tuple(map(str, classes)) if isinstance(classes, Mapping) else None


def _inputs(content: Any, file: Path) -> Any:
    """The inputs in a checkpoint of ours, or in the metadata of a network that `export` wrote."""
    if not is_safetensors(file):
        return content.get("inputs") if isinstance(content, Mapping) else None
    with suppress(ValueError):
        return json.loads(read_metadata(file).get("inputs", "null"))
    return None


def _opened(content: Any) -> tuple[Any, str | None]:
    """Return the content of the innermost container, and the container's name."""
    for key in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            inner, name = _opened(content[key])
            return inner, name or key
    return content, None


def _own(weights: dict[str, Tensor]) -> Weights:
    """Weights under our names, which are those of the original SPVNAS, or under names of a network of one's own."""
    if not any(name.startswith("backbone.") for name in weights):
        return Weights("a state dict in the names of SPVNAS" if SPVNAS_MARK in weights else "a state dict", weights)
    own = {name.removeprefix("backbone."): v for name, v in weights.items() if name.startswith("backbone.")}
    proj = {name.removeprefix("cluster."): v for name, v in weights.items() if name.startswith("cluster.proj.")}
    return Weights("a checkpoint of clusterseg", own | proj)


def _unwrapped(name: str) -> str:
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name


def _load(file: Path) -> Any:
    if not file.is_file():
        raise UserError(
            f"model.init_from={file}: no such file; give the path of a state dict, of torch.save or safetensors"
        )
    try:
        with warnings.catch_warnings(), bookkeeping_is_inert():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            if is_safetensors(file):
                return read_safetensors(file)
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"model.init_from={file} was not loaded: it is damaged, or holds more than tensors and plain values, and "
            f"opening such a file can run code ({_reason(error)}). If you trust its source, reduce it to weights where "
            'it was made: torch.save(torch.load(FILE, weights_only=False)["model"], NEW_FILE), with the entry that '
            f"holds them: {', '.join(CONTAINERS)}"
        ) from None
    except Exception as error:  # a damaged file can raise any error
        raise UserError(
            f"model.init_from={file} cannot be read ({_reason(error)}): it is damaged, or no file of torch.save or "
            "safetensors; fetch it again, or give the path of another one"
        ) from None


def _reason(error: BaseException) -> str:
    """Return the reason, without PyTorch's advice to disable the protection."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = [line for line in lines if "Unsupported" in line or "GLOBAL" in line]
    return (found or lines or [type(error).__name__])[0][:200]
