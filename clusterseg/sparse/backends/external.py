"""Shared helpers of the external engines: device, precision and lists of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from clusterseg.errors import UserError
from clusterseg.sparse.kernel_map import KernelMap

T = TypeVar("T")


class PairList(NamedTuple):
    """All pairs of a kernel map, the centre's among them, ordered by kernel offset.

    Attributes:
        in_rows: Input voxel of each pair.
        out_rows: Output voxel of each pair.
        counts: Pairs of each kernel offset.
    """

    in_rows: Int[Tensor, " pairs"]
    out_rows: Int[Tensor, " pairs"]
    counts: tuple[int, ...]


def list_pairs(kernel_map: KernelMap) -> PairList:
    """List all pairs, including the centre's, which a kernel map implies."""
    center, counts = kernel_map.center, list(kernel_map.counts)
    if center is None:
        return PairList(kernel_map.in_rows, kernel_map.out_rows, tuple(counts))
    before = sum(counts[:center])
    every = torch.arange(kernel_map.num_out, device=kernel_map.in_rows.device)
    counts[center] = kernel_map.num_out
    ins, outs = kernel_map.in_rows, kernel_map.out_rows
    return PairList(
        torch.cat([ins[:before], every, ins[before:]]),
        torch.cat([outs[:before], every, outs[before:]]),
        tuple(counts),
    )


def kept(kernel_map: KernelMap, name: str, make: Callable[[KernelMap], T]) -> T:
    """Return an engine's form of a kernel map, built once and cached as long as the map."""
    if name not in kernel_map.__dict__:
        kernel_map.__dict__[name] = make(kernel_map)
    made: T = kernel_map.__dict__[name]
    return made


def require_cuda(name: str, tensor: Tensor, reason: str) -> None:
    """Refuse a tensor that is not on a GPU.

    Raises:
        UserError: The tensor is on another device.
    """
    if tensor.device.type != "cuda":
        raise UserError(
            f"sparse.backend={name} on {tensor.device.type}: {reason}; use sparse.backend=auto, which takes "
            "the engine that fits the device"
        )


def in_autocast_dtype(
    name: str, feats: Tensor, weight: Tensor, offered: tuple[torch.dtype, ...]
) -> tuple[Tensor, Tensor]:
    """Cast both tensors to the autocast dtype if one is active.

    Raises:
        UserError: The engine does not compute in this dtype.
    """
    device = feats.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else feats.dtype
    if dtype not in offered:
        names = ", ".join(str(d).removeprefix("torch.") for d in offered)
        raise UserError(
            f"sparse.backend={name} does not compute in {str(dtype).removeprefix('torch.')}, only in {names}: "
            "set trainer.precision accordingly, or sparse.backend=native"
        )
    return feats.to(dtype), weight.to(dtype)
