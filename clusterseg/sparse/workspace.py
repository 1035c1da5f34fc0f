"""Scratch memory shared by layers."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor


class Workspace:
    """Reusable scratch tensors by name, grown to the largest request, one set per thread.

    Touching fresh pages costs more than the arithmetic of a narrow layer, so all layers of a network, and all its
    forward and backward passes, share one block of memory for gathered rows and one for products. A copy or a
    pickle of a workspace is empty.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def __deepcopy__(self, memo: dict[int, Any]) -> Workspace:
        return Workspace()

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        return Workspace, ()

    def rows(self, name: str, rows: int, like: Tensor, channels: int) -> Tensor:
        """An uninitialised (rows, channels) tensor of the dtype and device of `like`.

        It is valid until the next request of the same name.
        """
        blocks: dict[tuple[Any, ...], Tensor] = self._local.__dict__.setdefault("blocks", {})
        key = (name, like.dtype, like.device)
        if key not in blocks or blocks[key].numel() < rows * channels:
            with torch.inference_mode(False):
                blocks[key] = torch.empty(rows * channels, dtype=like.dtype, device=like.device)
        return blocks[key][: rows * channels].view(rows, channels)
