"""Parameters and multiply-accumulates (MACs) of a network, without running it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from clusterseg.backbone.unet import SparseUNet
from clusterseg.sparse import Conv3d, sparse_tensor


@dataclass(frozen=True)
class ScanSize:
    """Properties of a scan that determine the cost of a network.

    Attributes:
        voxels: Voxels at each stride.
        pairs: Pairs (input voxel, output voxel) of the 3x3x3 kernel at each stride.
    """

    voxels: dict[int, int]
    pairs: dict[int, int]


def scan_size(coords: Int[Tensor, "voxels 4"], num_stages: int = 4) -> ScanSize:
    """Count the voxels and the pairs of a scan at strides 1, 2, 4, ...

    Args:
        coords: Distinct integers: batch, x, y, z.
        num_stages: Stages down.
    """
    x, _ = sparse_tensor(torch.zeros(len(coords), 0), coords)
    strides = [2**i for i in range(num_stages + 1)]
    voxels = {stride: x.grid.keys(stride).numel() for stride in strides}
    maps = {stride: x.grid.submanifold(stride) for stride in strides}
    return ScanSize(voxels, {s: sum(m.counts) + (m.num_out if m.center is not None else 0) for s, m in maps.items()})


def count_parameters(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def layer_macs(network: SparseUNet, size: ScanSize) -> dict[str, int]:
    """MACs of each convolution and linear layer, by its name in the network."""
    macs = {}
    for name, layer in network.named_modules():
        if isinstance(layer, Conv3d):
            macs[name] = _pairs(name, layer, size) * layer.in_channels * layer.out_channels
        elif isinstance(layer, nn.Linear):
            macs[name] = size.voxels[1] * layer.in_features * layer.out_features
    return macs


def count_macs(network: SparseUNet, size: ScanSize) -> int:
    """MACs of all convolutions and linear layers, without normalisation, activations and interpolation."""
    return sum(layer_macs(network, size).values())


def _pairs(name: str, layer: Conv3d, size: ScanSize) -> int:
    """Pairs of a convolution. Each fine voxel of a transition, down or up, is in exactly one."""
    stride = _stride(name)
    return size.pairs[stride] if layer.kernel_size == 3 else size.voxels[stride]


def _stride(name: str) -> int:
    """The finer stride of a layer of a :class:`SparseUNet`, by its position."""
    match name.split("."):
        case ["downsample", i, "transition", *_]:
            return int(2 ** int(i))
        case ["downsample", i, *_]:
            return int(2 ** (int(i) + 1))
        case ["upsample", i, *_]:
            return int(2 ** (3 - int(i)))
    return 1
