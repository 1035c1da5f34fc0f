"""Conversion between the points and the voxels of a grid; a point is a voxel of the finest level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from clusterseg.sparse.coords import local_position
from clusterseg.sparse.kernel_map import corner_rows
from clusterseg.sparse.segments import group_rows
from clusterseg.sparse.tensor import Grid, SparseTensor


@dataclass(frozen=True)
class RowMixer:
    """A sparse matrix whose rows are weighted sums of feature rows, stored row by row (CSR).

    Attributes:
        columns: Feature row of each entry.
        offsets: (outputs + 1,) where the entries of each output begin.
        weights: Weight of each entry.
        num_in: Feature rows.
    """

    columns: Int[Tensor, " entries"]
    offsets: Int[Tensor, " outputs_plus_one"]
    weights: Float[Tensor, " entries"]
    num_in: int

    @cached_property
    def transposed(self) -> RowMixer:
        """The transposed matrix, which carries gradients back."""
        num_out = self.offsets.numel() - 1
        outputs = torch.repeat_interleave(
            torch.arange(num_out, device=self.columns.device),
            self.offsets.diff(),
            output_size=self.columns.numel(),
        )
        order, offsets = group_rows(self.columns, self.num_in)
        return RowMixer(outputs[order], offsets, self.weights[order], num_out)

    def mix(self, feats: Float[Tensor, "inputs channels"]) -> Float[Tensor, "outputs channels"]:
        """The weighted sums; differentiable in `feats`."""
        output: Tensor = _Mix.apply(feats, self)
        return output

    def _product(self, feats: Tensor) -> Tensor:
        weights = self.weights.to(feats.dtype)
        return F.embedding_bag(
            self.columns,
            feats,
            self.offsets,
            mode="sum",
            per_sample_weights=weights,
            include_last_offset=True,
        )


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, mixer: RowMixer) -> Tensor:
        ctx.mixer = mixer
        return mixer._product(feats)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        return ctx.mixer.transposed._product(grad_output.contiguous()), None


def build_ahead(grid: Grid, strides: Sequence[int]) -> None:
    """Build what `point_to_voxel` and `voxel_to_point` need at these strides before the layers run; see `Grid.build`.

    It is kept until it is used, once each.
    """
    for stride in strides:
        for make in (averager, interpolator):
            mixer = grid.ahead[make.__name__, stride] = make(grid, stride)
            if torch.is_grad_enabled():
                assert mixer.transposed is not None


def _mixer(make: Callable[[Grid, int], RowMixer], x: SparseTensor) -> RowMixer:
    ready: RowMixer | None = x.grid.ahead.pop((make.__name__, x.stride), None)
    return make(x.grid, x.stride) if ready is None else ready


def point_to_voxel(points: Float[Tensor, "points channels"], like: SparseTensor) -> SparseTensor:
    """Mean of the features of the points in each voxel of `like`.

    Examples:
        >>> from clusterseg.sparse import Conv3d, sparse_tensor
        >>> x, _ = sparse_tensor(torch.ones(2, 1), torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]))
        >>> coarse = Conv3d(1, 1, kernel_size=2, stride=2)(x)  # both points in one voxel of stride 2
        >>> point_to_voxel(torch.tensor([[1.0], [3.0]]), coarse).feats
        tensor([[2.]])
    """
    return like.with_feats(points if like.stride == 1 else _mixer(averager, like).mix(points))


def voxel_to_point(x: SparseTensor) -> Float[Tensor, "points channels"]:
    """Trilinear interpolation of voxel features at the points.

    The corners of a point p are floor(p / s) * s + s * {0, 1}^3 with weights prod(f or 1 - f), f = (p mod s) / s.
    Absent corners count zero and the rest is normalised: w / (sum w + 1e-8). At stride 1 it is the identity.

    Examples:
        >>> from clusterseg.sparse import Conv3d, sparse_tensor
        >>> x, _ = sparse_tensor(torch.ones(2, 1), torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]))
        >>> coarse = Conv3d(1, 1, kernel_size=2, stride=2)(x)
        >>> voxel_to_point(coarse.with_feats(torch.tensor([[2.0]])))
        tensor([[2.],
                [2.]])
    """
    return x.feats if x.stride == 1 else _mixer(interpolator, x).mix(x.feats)


def averager(grid: Grid, stride: int) -> RowMixer:
    """Points to voxels of `stride`: each row of the matrix averages the points of one voxel."""
    rows = grid.rows_at(stride)
    order, offsets = group_rows(rows, grid.keys(stride).numel())
    weights = offsets.diff().to(torch.float64).reciprocal()[rows[order]]
    return RowMixer(order, offsets, weights, rows.numel())


def interpolator(grid: Grid, stride: int) -> RowMixer:
    """Voxels of `stride` to points: each row of the matrix interpolates between the corners of one point."""
    rows = grid.rows_at(stride)
    corners, present = corner_rows(grid.keys(stride), stride)
    fraction = local_position(grid.keys(1), stride).double() / stride
    near_far = torch.stack([1 - fraction, fraction], 2)
    weights = torch.einsum("pi,pj,pk->pijk", near_far[:, 0], near_far[:, 1], near_far[:, 2]).flatten(1)
    weights = weights * present[rows]
    weights = weights / (weights.sum(1, keepdim=True) + 1e-8)
    used = weights > 0
    offsets = torch.zeros(rows.numel() + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(used.sum(1), 0, out=offsets[1:])
    return RowMixer(corners[rows][used], offsets, weights[used], grid.keys(stride).numel())
