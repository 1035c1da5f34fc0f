"""The engine in plain PyTorch: gather, one matrix product per kernel offset, segment sum. CPU and CUDA."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clusterseg.sparse.backends import Backend
from clusterseg.sparse.kernel_map import KernelMap, Tile
from clusterseg.sparse.workspace import Workspace


class NativeBackend(Backend):
    """Gather-multiply-sum with PyTorch operators only, tile by tile."""

    def convolve(
        self,
        feats: Float[Tensor, "inputs c_in"],
        weight: Float[Tensor, "offsets c_in c_out"],
        kernel_map: KernelMap,
        workspace: Workspace,
    ) -> Float[Tensor, "outputs c_out"]:
        """out[o] = sum over pairs (i, o, k) of feats[i] @ weight[k], in the autocast dtype if one is active."""
        device = feats.device.type
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
            feats, weight = feats.to(dtype), weight.to(dtype)
        output: Tensor = _Convolution.apply(feats, weight, kernel_map, workspace)
        return output


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, weight: Tensor, kernel_map: KernelMap, workspace: Workspace) -> Tensor:
        ctx.save_for_backward(feats, weight)
        ctx.kernel_map, ctx.workspace = kernel_map, workspace
        output = feats.new_empty(kernel_map.num_out, weight.shape[2])
        center = None if kernel_map.center is None else weight[kernel_map.center]
        for tile in kernel_map.tiles:
            gathered = _gather(feats, tile.in_rows, "gathered", workspace)
            sums = _multiply_sum(gathered, weight, tile, workspace)
            _finish(sums, feats, center, output, tile)
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
    gathered = workspace.rows(name, rows.numel(), feats, feats.shape[1])
    return torch.index_select(feats, 0, rows, out=gathered)


def _multiply_sum(gathered: Tensor, weight: Tensor, tile: Tile, workspace: Workspace) -> Tensor | None:
    """Multiply the gathered rows by their offset's matrix and sum them per output voxel of the tile.

    Deterministic: the products of a voxel are added in the order of the offsets. None where there is no pair.
    """
    products = workspace.rows("products", gathered.shape[0], gathered, weight.shape[2])
    for k, start, stop in tile.runs:
        torch.mm(gathered[start:stop], weight[k], out=products[start:stop])
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
