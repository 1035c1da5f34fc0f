"""The engine in plain PyTorch: gather, one matrix product per kernel offset, segment sum. CPU and CUDA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clusterseg.sparse.backends import Backend
from clusterseg.sparse.kernel_map import CPU_TILE, KernelMap, Tile
from clusterseg.sparse.workspace import Workspace

#: What `_few_sizes` adds at most to the pairs of a tile under one offset.
LARGEST_PADDING = CPU_TILE // 4


class NativeBackend(Backend):
    """Gather-multiply-sum with PyTorch operators only, tile by tile."""

    def prepare(self, kernel_map: KernelMap) -> None:
        """Cut a map into tiles, and for the gradients its transpose."""
        for wanted in (kernel_map, kernel_map.transposed)[: 1 + torch.is_grad_enabled()]:
            assert wanted.tiles is not None

    def convolve(
        self,
        feats: Float[Tensor, "inputs c_in"],
        weight: Float[Tensor, "offsets c_in c_out"],
        kernel_map: KernelMap,
        workspace: Workspace,
    ) -> Float[Tensor, "outputs c_out"]:
        """out[o] = sum over pairs (i, o, k) of feats[i] @ weight[k], in the autocast dtype if one is active."""
        output: Tensor = _Convolution.apply(*_autocast(feats, weight), kernel_map, workspace)
        return output

    def infer(
        self,
        feats: Float[Tensor, "inputs c_in"],
        weight: Float[Tensor, "offsets c_in c_out"],
        bias: Float[Tensor, " c_out"],
        relu: bool,
        kernel_map: KernelMap,
        workspace: Workspace,
    ) -> Float[Tensor, "outputs c_out"]:
        """As `convolve`, with bias and ReLU while a tile is in cache; without gradients."""
        feats, weight = _autocast(feats, weight)
        output = feats.new_empty(kernel_map.num_out, weight.shape[2])
        for rows in _convolve_tiles(feats, weight, output, kernel_map, workspace):
            rows.add_(bias)
            if relu:
                rows.clamp_min_(0)
        return output


def _autocast(feats: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the type of autocast, if it is active."""
    device = feats.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        feats, weight = feats.to(dtype), weight.to(dtype)
    return feats, weight


def _convolve_tiles(
    feats: Tensor, weight: Tensor, output: Tensor, kernel_map: KernelMap, workspace: Workspace
) -> Iterator[Tensor]:
    """Write the output tile by tile; yields the rows just written."""
    center = None if kernel_map.center is None else weight[kernel_map.center]
    for tile in kernel_map.tiles:
        gathered = _gather(feats, tile.in_rows, "gathered", workspace)
        sums = _multiply_sum(gathered, weight, tile, workspace)
        _finish(sums, feats, center, output, tile)
        yield output[tile.rows]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, weight: Tensor, kernel_map: KernelMap, workspace: Workspace) -> Tensor:
        ctx.save_for_backward(feats, weight)
        ctx.kernel_map, ctx.workspace = kernel_map, workspace
        output = feats.new_empty(kernel_map.num_out, weight.shape[2])
        for _ in _convolve_tiles(feats, weight, output, kernel_map, workspace):
            pass
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Both gradients in one pass over the transposed map; one gathered gradient serves both."""
        feats, weight = ctx.saved_tensors
        kernel_map, workspace = ctx.kernel_map, ctx.workspace
        grad = grad_output.contiguous()
        grad_feats = torch.empty_like(feats) if ctx.needs_input_grad[0] else None
        grad_weight = _accumulator(weight) if ctx.needs_input_grad[1] else None
        transposed_weight = weight.transpose(1, 2)
        center = None if kernel_map.center is None else transposed_weight[kernel_map.center]
        for tile in kernel_map.transposed.tiles:
            gathered = _gather(grad, tile.in_rows, "gathered", workspace)
            if grad_feats is not None:
                sums = _multiply_sum(gathered, transposed_weight, tile, workspace)
                _finish(sums, grad, center, grad_feats, tile)
            if grad_weight is not None:
                inputs = _gather(feats, tile.out_rows, "products", workspace)
                if _slack(feats):  # their rows cannot be padded: they are summed over
                    inputs, gathered = inputs.float(), gathered.float()
                for k, start, stop in tile.runs:
                    _add_product(grad_weight[k], inputs[start:stop].t(), gathered[start:stop])
        if kernel_map.center is not None and grad_weight is not None:
            _add_product(grad_weight[kernel_map.center], feats.t(), grad)
        return grad_feats, None if grad_weight is None else grad_weight.to(weight.dtype), None, None


def _accumulator(weight: Tensor) -> Tensor:
    """Zeros that sums over tiles are exact enough in: at least float32."""
    return torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right


def _gather(feats: Tensor, rows: Tensor, name: str, workspace: Workspace) -> Tensor:
    gathered = workspace.rows(name, rows.numel() + _slack(feats), feats, feats.shape[1])[: rows.numel()]
    return torch.index_select(feats, 0, rows, out=gathered)


def _slack(feats: Tensor) -> int:
    """Rows of scratch memory behind the pairs: in half precision on a CPU each new row count costs a new kernel."""
    return LARGEST_PADDING if feats.device.type == "cpu" and feats.dtype in (torch.bfloat16, torch.float16) else 0


def _few_sizes(rows: int) -> int:
    """The next larger of few row counts: multiples of 64, and of a quarter of the power of two below."""
    step = max(64, 1 << max(rows.bit_length() - 3, 0))
    return -(-rows // step) * step


def _multiply_sum(gathered: Tensor, weight: Tensor, tile: Tile, workspace: Workspace) -> Tensor | None:
    """Multiply the gathered rows by their offset's matrix and sum them per output voxel of the tile.

    Deterministic: the products of a voxel are added in the order of the offsets. None where there is no pair.
    """
    pairs, slack = gathered.shape[0], _slack(gathered)
    padded = workspace.rows("gathered", pairs + slack, gathered, gathered.shape[1])
    out = workspace.rows("products", pairs + slack, gathered, weight.shape[2])
    for k, start, stop in tile.runs:
        stop = start + _few_sizes(stop - start) if slack else stop  # what is too much, the next product writes over
        torch.mm(padded[start:stop], weight[k], out=out[start:stop])
    products = out[:pairs]
    if tile.single:
        return products.index_select(0, tile.order)
    if products.shape[0] == 0:
        return None
    return F.embedding_bag(tile.order, products, tile.offsets, mode="sum", include_last_offset=True)


def _finish(sums: Tensor | None, feats: Tensor, center: Tensor | None, output: Tensor, tile: Tile) -> None:
    """Write the tile's sums, and the implied pairs of each voxel with itself, into the output."""
    rows = tile.rows
    if center is None:
        output[rows] = 0 if sums is None else sums
    elif sums is None:
        torch.mm(feats[rows], center, out=output[rows])
    else:
        torch.addmm(sums, feats[rows], center, out=output[rows])
