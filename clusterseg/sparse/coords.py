"""Voxel coordinates as sorted 63-bit keys, from which kernel maps are built."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

AXIS_BITS = 18
AXIS_BIAS = 1 << (AXIS_BITS - 1)
#: Voxel coordinates must lie in [-COORD_LIMIT, COORD_LIMIT); the margin keeps neighbours inside their bit field.
COORD_LIMIT = AXIS_BIAS - 64
BATCH_LIMIT = 1 << 9


def pack(coords: Int[Tensor, "voxels 4"]) -> Int[Tensor, " voxels"]:
    """Pack (batch, x, y, z) into one int64 key that sorts in that order.

    Adding `key_offset` to a key moves it by whole voxels.

    Raises:
        ValueError: A coordinate or a batch index does not fit its bit field.
    """
    if coords.numel():
        batch_min, x_min, y_min, z_min = coords.amin(0).tolist()
        batch_max, x_max, y_max, z_max = coords.amax(0).tolist()
        if min(x_min, y_min, z_min) < -COORD_LIMIT or max(x_max, y_max, z_max) >= COORD_LIMIT:
            raise ValueError(
                f"voxel coordinates reach from {min(x_min, y_min, z_min)} to {max(x_max, y_max, z_max)}, expected "
                f"[-{COORD_LIMIT}, {COORD_LIMIT}): shift the scan to its sensor or use a larger voxel size"
            )
        if batch_min < 0 or batch_max >= BATCH_LIMIT:
            raise ValueError(
                f"batch indices {batch_min}..{batch_max}, expected 0..{BATCH_LIMIT - 1}: use smaller batches"
            )
    batch, x, y, z = coords.long().unbind(1)
    key = (batch << AXIS_BITS) | (x + AXIS_BIAS)
    key = (key << AXIS_BITS) | (y + AXIS_BIAS)
    return (key << AXIS_BITS) | (z + AXIS_BIAS)


def unpack(keys: Int[Tensor, " voxels"]) -> Int[Tensor, "voxels 4"]:
    """Undo `pack`."""
    mask = (1 << AXIS_BITS) - 1
    fields = [
        keys >> (3 * AXIS_BITS),
        ((keys >> (2 * AXIS_BITS)) & mask) - AXIS_BIAS,
        ((keys >> AXIS_BITS) & mask) - AXIS_BIAS,
        (keys & mask) - AXIS_BIAS,
    ]
    return torch.stack(fields, 1).int()


def key_offset(dx: int, dy: int, dz: int) -> int:
    """Offset to add to a key to move by (dx, dy, dz) voxels of the finest grid."""
    return (((dx << AXIS_BITS) + dy) << AXIS_BITS) + dz


def coarsen(keys: Int[Tensor, " voxels"], stride: int) -> Int[Tensor, " voxels"]:
    """Keys of the cells of side `stride` (a power of two) that hold the voxels: floor(c / stride) * stride."""
    low = stride - 1
    return keys & ~((((low << AXIS_BITS) | low) << AXIS_BITS) | low)


def local_position(keys: Int[Tensor, " voxels"], stride: int) -> Int[Tensor, "voxels 3"]:
    """Position (x, y, z) of each voxel inside its cell of side `stride`, in 0..stride-1."""
    low = stride - 1
    return torch.stack([(keys >> (2 * AXIS_BITS)) & low, (keys >> AXIS_BITS) & low, keys & low], 1)


def lookup(table: Int[Tensor, " voxels"], keys: Int[Tensor, "..."]) -> tuple[Tensor, Tensor]:
    """Find keys in a sorted table.

    Returns:
        The row of each key (arbitrary but valid where it is absent) and whether it is present.
    """
    rows = torch.searchsorted(table, keys).clamp_(max=table.numel() - 1)
    return rows, table[rows] == keys
