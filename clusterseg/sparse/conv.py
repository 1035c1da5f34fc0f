"""The sparse convolution layer."""

from __future__ import annotations

import math

import torch
from torch import nn

from clusterseg.sparse.kernel_map import KernelMap
from clusterseg.sparse.norm import BatchNorm
from clusterseg.sparse.norm_relu import recomputed
from clusterseg.sparse.tensor import SparseTensor


class Conv3d(nn.Module):
    """Convolution over occupied voxels, without bias (a BatchNorm follows in every use).

    Three kinds, by kernel size and stride: 3x3x3 submanifold (3, 1), 2x2x2 down (2, 2) and its transpose up, and
    pointwise (1, 1). The output of the two submanifold kinds has the voxels of the input.

    Args:
        in_channels: C_in.
        out_channels: C_out.
        kernel_size: 1, 2 or 3.
        stride: 1, or 2 with `kernel_size=2`.
        transposed: Go up instead of down; the voxels are those that the grid has at the finer level.

    The weight `kernel` is (kernel_size^3, C_in, C_out), (C_in, C_out) where pointwise. Offset order: x fastest for
    3x3x3, z fastest for 2x2x2, as in published SPVNAS weights. out[o] = sum_k in[o + offset_k * stride] @ kernel[k].

    Examples:
        >>> from clusterseg.sparse import sparse_tensor
        >>> x, _ = sparse_tensor(torch.ones(2, 4), torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]))
        >>> same, down = Conv3d(4, 8)(x), Conv3d(4, 8, kernel_size=2, stride=2)(x)
        >>> same.feats.shape, down.feats.shape, down.stride
        (torch.Size([2, 8]), torch.Size([1, 8]), 2)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        transposed: bool = False,
    ) -> None:
        super().__init__()
        if (kernel_size, stride) not in {(1, 1), (3, 1), (2, 2)} or (transposed and stride == 1):
            raise ValueError(
                f"Conv3d with kernel_size={kernel_size}, stride={stride}, transposed={transposed} is not offered: "
                "use (1, 1), (3, 1), or (2, 2) down or transposed"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.transposed = kernel_size, stride, transposed
        shape = (in_channels, out_channels) if kernel_size == 1 else (kernel_size**3, in_channels, out_channels)
        self.kernel = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in +-1/sqrt(fan), fan = K * C_in (C_out where transposed), as torchsparse initialises."""
        channels = self.out_channels if self.transposed else self.in_channels
        bound = 1 / math.sqrt(channels * self.kernel_size**3)
        nn.init.uniform_(self.kernel, -bound, bound)

    def forward(self, x: SparseTensor, norm: BatchNorm | None = None, relu: bool = False) -> SparseTensor:
        """Convolve; the stride of the result is that of the kind.

        Args:
            x: The input.
            norm: A norm that is `foldable`, to be applied to the result; its scale goes into the weights.
            relu: Whether a ReLU follows the norm.
        """
        if norm is not None:
            return self._folded(x, norm, relu)
        with recomputed(x.feats):
            if self.kernel_size == 1:
                return x.map(lambda feats: feats @ self.kernel)
            kernel_map, stride = self._map(x)
            feats = x.grid.backend.convolve(x.feats, self.kernel, kernel_map, x.grid.workspace)
            return x.with_feats(feats, stride)

    def _folded(self, x: SparseTensor, norm: BatchNorm, relu: bool) -> SparseTensor:
        scale, shift = norm.scale_and_shift()
        kernel = self.kernel * scale
        if self.kernel_size == 1:
            feats = torch.addmm(shift, x.feats, kernel)
            return x.with_feats(feats.clamp_min_(0) if relu else feats)
        kernel_map, stride = self._map(x)
        return x.with_feats(x.grid.backend.infer(x.feats, kernel, shift, relu, kernel_map, x.grid.workspace), stride)

    def _map(self, x: SparseTensor) -> tuple[KernelMap, int]:
        """The kernel map, and the stride of the result."""
        stride = x.stride
        if self.kernel_size == 3:
            kernel_map = x.grid.submanifold(stride)
        elif self.transposed:
            if stride == 1:
                raise ValueError(
                    "a transposed convolution goes to the next finer level; stride 1 is the finest already"
                )
            stride //= 2
            kernel_map = x.grid.down(stride).transposed
        else:
            kernel_map = x.grid.down(stride)
            stride *= 2
        return kernel_map, stride

    def extra_repr(self) -> str:
        """Shape and kind, for printing."""
        kind = ", transposed" if self.transposed else ""
        return f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}{kind}"
