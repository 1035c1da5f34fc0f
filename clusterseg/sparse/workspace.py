"""Memory that the layers of one forward pass hand on to each other."""

from __future__ import annotations

import torch
from torch import Tensor


class Workspace:
    """Scratch tensors by name, grown to the largest request.

    Touching fresh pages costs more than the arithmetic of a narrow layer, so gathered rows and products of
    all layers share one block of memory each.
    """

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, torch.dtype], Tensor] = {}

    def rows(self, name: str, rows: int, like: Tensor, channels: int) -> Tensor:
        """An uninitialised (rows, channels) tensor of the dtype and device of ``like``.

        It is valid until the next request of the same name.
        """
        block = self._blocks.get((name, like.dtype))
        if block is None or block.numel() < rows * channels:
            block = torch.empty(rows * channels, dtype=like.dtype, device=like.device)
            self._blocks[name, like.dtype] = block
        return block[: rows * channels].view(rows, channels)
