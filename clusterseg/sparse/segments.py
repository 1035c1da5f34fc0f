"""Group rows by voxel."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor


def group_rows(
    voxel: Int[Tensor, " rows"], num_voxels: int
) -> tuple[Int[Tensor, " rows"], Int[Tensor, " voxels_plus_one"]]:
    """Group the rows 0..rows-1 by `voxel`, keeping their order inside each voxel.

    Returns:
        Row numbers voxel by voxel, and (num_voxels + 1,) where each voxel's run starts and the last one ends.
    """
    if voxel.is_cuda:
        return _group_on_device(voxel, num_voxels)
    offsets = torch.zeros(num_voxels + 1, dtype=torch.int64, device=voxel.device)
    torch.cumsum(torch.bincount(voxel, minlength=num_voxels), 0, out=offsets[1:])
    return torch.sort(voxel, stable=True).indices, offsets


def _group_on_device(voxel: Tensor, num_voxels: int) -> tuple[Tensor, Tensor]:
    """The same by searching: `bincount` would make the host wait for a GPU."""
    found, order = torch.sort(voxel, stable=True)
    borders = torch.arange(num_voxels + 1, dtype=found.dtype, device=found.device)
    return order, torch.searchsorted(found, borders)
