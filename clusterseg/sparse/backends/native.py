"""The engine in plain PyTorch: gather, one matrix product per kernel offset, segment sum. CPU and CUDA."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from clusterseg.sparse.kernel_map import KernelMap, Segments, submanifold_map
from clusterseg.sparse.workspace import Workspace


class NativeBackend:
    """Gather-multiply-sum with PyTorch operators only."""

    def build_map(self, keys: Int[Tensor, " voxels"], stride: int) -> KernelMap:
        """The 3x3x3 submanifold map of sorted keys."""
        return submanifold_map(keys, stride)

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
        gathered = _gather(feats, kernel_map.in_rows, "gathered", workspace)
        return _multiply_sum(feats, gathered, weight, kernel_map, workspace)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        feats, weight = ctx.saved_tensors
        kernel_map, workspace = ctx.kernel_map, ctx.workspace
        grad = grad_output.contiguous()
        gathered_grad = _gather(grad, kernel_map.out_rows, "gathered", workspace)
        grad_feats = grad_weight = None
        if ctx.needs_input_grad[0]:
            mirrored = kernel_map.transposed
            grad_feats = _multiply_sum(grad, gathered_grad, weight.transpose(1, 2), mirrored, workspace)
        if ctx.needs_input_grad[1]:
            gathered = _gather(feats, kernel_map.in_rows, "products", workspace)
            grad_weight = torch.empty_like(weight)
            for k, rows in _runs(kernel_map):
                torch.mm(gathered[rows].t(), gathered_grad[rows], out=grad_weight[k])
            if kernel_map.center is not None:
                torch.mm(feats.t(), grad, out=grad_weight[kernel_map.center])
        return grad_feats, grad_weight, None, None


def _runs(kernel_map: KernelMap) -> list[tuple[int, slice]]:
    """The run of pairs of each listed kernel offset."""
    runs, start = [], 0
    for k, count in enumerate(kernel_map.counts):
        if k != kernel_map.center:
            runs.append((k, slice(start, start + count)))
        start += count
    return runs


def _gather(feats: Tensor, rows: Tensor, name: str, workspace: Workspace) -> Tensor:
    gathered = workspace.rows(name, rows.numel(), feats, feats.shape[1])
    return torch.index_select(feats, 0, rows, out=gathered)


def _multiply_sum(
    feats: Tensor, gathered: Tensor, weight: Tensor, kernel_map: KernelMap, workspace: Workspace
) -> Tensor:
    """Multiply the gathered rows by their offset's matrix and sum them per output voxel."""
    products = workspace.rows("products", gathered.shape[0], gathered, weight.shape[2])
    for k, rows in _runs(kernel_map):
        torch.mm(gathered[rows], weight[k], out=products[rows])
    output = segment_sum(products, kernel_map.by_output)
    if kernel_map.center is not None:
        output.addmm_(feats, weight[kernel_map.center])
    return output


def segment_sum(rows: Float[Tensor, "pairs channels"], segments: Segments) -> Float[Tensor, "voxels channels"]:
    """Sum the rows of each segment; a segment without rows gives zeros. Deterministic: rows are added in order."""
    if segments.single:
        return rows.index_select(0, segments.order)
    if rows.shape[0] == 0:
        return rows.new_zeros(segments.offsets.numel() - 1, rows.shape[1])
    return F.embedding_bag(segments.order, rows, segments.offsets, mode="sum", include_last_offset=True)
