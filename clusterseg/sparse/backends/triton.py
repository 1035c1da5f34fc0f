"""The engine in Triton kernels: implicit matrix products that gather as they go, on CUDA."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clusterseg.errors import UserError
from clusterseg.sparse.backends import Backend
from clusterseg.sparse.backends.external import in_autocast_dtype, kept, require_cuda
from clusterseg.sparse.kernel_map import KernelMap
from clusterseg.sparse.workspace import Workspace

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class Plan(NamedTuple):
    """A kernel map in the form of the Triton kernels.

    Attributes:
        table: Input voxel under each offset, -1 if there is none; columns in the order of `order`.
        order: Output voxels, those with the same neighbours next to each other, so that blocks can skip offsets.
        starts: (offsets + 1,) where the pairs of each offset start; the implied centre has none.
        longest: Pairs of the commonest offset.
    """

    table: Int[Tensor, "offsets outputs"]
    order: Int[Tensor, " outputs"]
    starts: Int[Tensor, " offsets_plus_one"]
    longest: int


class TritonBackend(Backend):
    """Forward pass, input gradient and weight gradient accumulate in float32, without atomic additions.

    Sums are in an order that the block sizes fix, which are timed once for each class of shapes and kept on the disk:
    a process repeats its results, and so do those that find its choices; elsewhere others may be chosen.

    Raises:
        UserError: Triton cannot be imported.
    """

    def __init__(self) -> None:
        try:
            from clusterseg.sparse.backends import triton_kernels
        except ImportError as error:
            raise UserError(
                f"sparse.backend=triton cannot be imported ({error}). It comes with PyTorch for CUDA on Linux; "
                "elsewhere use sparse.backend=auto"
            ) from None
        self._kernels = triton_kernels

    def prepare(self, kernel_map: KernelMap) -> None:
        """Tabulate a map, and for the gradients its transpose."""
        kept(kernel_map, "triton", make_plan)
        if torch.is_grad_enabled():
            kept(kernel_map.transposed, "triton", make_plan)

    def convolve(
        self,
        feats: Float[Tensor, "inputs c_in"],
        weight: Float[Tensor, "offsets c_in c_out"],
        kernel_map: KernelMap,
        workspace: Workspace,
    ) -> Float[Tensor, "outputs c_out"]:
        """out[o] = sum over pairs (i, o, k) of feats[i] @ weight[k], in the autocast dtype if one is active.

        Raises:
            UserError: The features are not on CUDA, or in float64.
        """
        if os.environ.get("TRITON_INTERPRET") != "1":
            require_cuda("triton", feats, "its kernels are compiled for a GPU")
        feats, weight = in_autocast_dtype("triton", feats, weight, DTYPES)
        output: Tensor = _Convolution.apply(feats, weight, kernel_map, self._kernels)
        return output


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, weight: Tensor, kernel_map: KernelMap, kernels: Any) -> Tensor:
        feats = feats.contiguous()
        ctx.save_for_backward(feats, weight)
        ctx.kernel_map, ctx.kernels = kernel_map, kernels
        plan = kept(kernel_map, "triton", make_plan)
        output: Tensor = kernels.gather_multiply(feats, weight, plan.table, plan.order)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        feats, weight = ctx.saved_tensors
        kernel_map, kernels = ctx.kernel_map, ctx.kernels
        grad = grad_output.contiguous()
        grad_feats = grad_weight = None
        if ctx.needs_input_grad[0]:
            plan = kept(kernel_map.transposed, "triton", make_plan)
            grad_feats = kernels.gather_multiply(grad, weight.transpose(1, 2), plan.table, plan.order, "input_gradient")
        if ctx.needs_input_grad[1]:
            plan = kept(kernel_map, "triton", make_plan)
            rows = kernel_map.in_rows, kernel_map.out_rows
            grad_weight = kernels.sum_outer_products(feats, grad, *rows, plan.starts, plan.longest)
            if kernel_map.center is not None:
                grad_weight[kernel_map.center] = _float_product(feats.t(), grad)
            grad_weight = grad_weight.to(weight.dtype)
        return grad_feats, grad_weight, None, None


def _float_product(left: Tensor, right: Tensor) -> Tensor:
    """The product in float32, of half precision on a GPU by its tensor cores."""
    if left.is_cuda and left.dtype != torch.float32:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def make_plan(kernel_map: KernelMap) -> Plan:
    """Tabulate a kernel map and sort its output voxels by which neighbours they have."""
    device, offsets = kernel_map.in_rows.device, len(kernel_map.counts)
    counts = torch.tensor(kernel_map.counts, device=device)
    kernel = torch.arange(offsets, device=device).repeat_interleave(counts, output_size=kernel_map.in_rows.numel())
    table = torch.full((offsets, kernel_map.num_out), -1, dtype=torch.int32, device=device)
    table[kernel, kernel_map.out_rows] = kernel_map.in_rows.int()
    if kernel_map.center is not None:
        table[kernel_map.center] = torch.arange(kernel_map.num_out, dtype=torch.int32, device=device)
    bits = 1 << torch.arange(offsets, device=device)
    order = ((table >= 0) * bits[:, None]).sum(0).argsort()
    starts = torch.zeros(offsets + 1, dtype=torch.int64, device=device)
    torch.cumsum(counts, 0, out=starts[1:])
    return Plan(table[:, order].contiguous(), order, starts, max(kernel_map.counts))
