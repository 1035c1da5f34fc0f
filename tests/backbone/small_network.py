"""A network and scans that take milliseconds."""

from __future__ import annotations

from typing import Any

import torch
from control_table import control_table
from torch import Tensor

from clusterseg.backbone import SPVNAS


def network(**changes: Any) -> SPVNAS:
    """A small network with statistics that are not those of a fresh one."""
    torch.manual_seed(0)
    net = SPVNAS(control_table(**changes), num_classes=7)
    with torch.no_grad():
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return net


def scan(voxels: int, batch: int = 0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features and shuffled coordinates of clumped voxels, negative ones among them."""
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.unique((torch.randn(2 * voxels, 3, generator=generator) * 9).floor().int(), dim=0)
    xyz = xyz[torch.randperm(len(xyz), generator=generator)[:voxels]]
    coords = torch.cat([torch.full((len(xyz), 1), batch, dtype=torch.int32), xyz], 1)
    return torch.randn(len(xyz), 4, generator=generator), coords
