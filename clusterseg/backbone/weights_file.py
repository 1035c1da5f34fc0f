"""Reading a file of weights that may come from anywhere: nothing in it can run."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clusterseg.errors import UserError

#: Entries under which training programs keep the weights; the second is Lightning's.
CONTAINERS = ("model", "state_dict")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read the state dict of a published checkpoint or of one of ``train.py``, with ``weights_only=True``.

    Prefixes that wrappers add are gone: ``module.`` of data parallelism, ``backbone.`` of our checkpoints, where
    ``cluster.proj.`` becomes ``proj.`` and what else belongs to a training run is left out.

    Raises:
        UserError: The file is missing, damaged, holds more than tensors and plain values, or no weights.
    """
    content = _load(Path(path))
    for key in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise UserError(f"model.init_from={path} holds a {type(content).__name__}, expected a state dict")
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not weights:
        keys = ", ".join(map(str, list(content)[:5])) or "nothing"
        raise UserError(f"model.init_from={path} holds no tensors ({keys}), expected a state dict, bare or under model")
    weights = {_unwrapped(name): value for name, value in weights.items()}
    if any(name.startswith("backbone.") for name in weights):
        own = {name.removeprefix("backbone."): v for name, v in weights.items() if name.startswith("backbone.")}
        proj = {name.removeprefix("cluster."): v for name, v in weights.items() if name.startswith("cluster.proj.")}
        weights = own | proj
    return weights


def _unwrapped(name: str) -> str:
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def _load(file: Path) -> Any:
    if not file.is_file():
        raise UserError(f"model.init_from={file}: no such file; give the path of a state dict saved by torch.save")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"model.init_from={file} was not loaded: it is damaged, or holds more than tensors and plain values, and "
            f"opening such a file can run code ({_reason(error)}). If you trust its source, reduce it to weights where "
            'it was made: torch.save(torch.load(FILE, weights_only=False)["model"], NEW_FILE)'
        ) from None
    except Exception as error:  # whatever a damaged file makes the reader stumble over
        raise UserError(
            f"model.init_from={file} cannot be read ({_reason(error)}): it is damaged or no file of torch.save"
        ) from None


def _reason(error: BaseException) -> str:
    """What was found, without PyTorch's advice to switch the protection off."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found = [line for line in lines if "Unsupported" in line or "GLOBAL" in line]
    return (found or lines or [type(error).__name__])[0][:200]
