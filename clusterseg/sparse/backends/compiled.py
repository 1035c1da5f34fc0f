"""The engine in C, for CPUs: neither gathered rows nor products are written to memory. Built on install where cc is."""

from __future__ import annotations

import ctypes
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from clusterseg.compiled import call, library
from clusterseg.sparse.backends.native import NativeBackend
from clusterseg.sparse.coords import key_offset
from clusterseg.sparse.kernel_map import HALF, KernelMap, mirrored_map
from clusterseg.sparse.workspace import Workspace


class CompiledBackend(NativeBackend):
    """As the native engine for float32 on a CPU, up to the order of sums; all else goes to the native engine.

    Raises:
        UserError: The library is not there.
    """

    def __init__(self) -> None:
        library()

    def build_map(self, keys: Int[Tensor, " voxels"], stride: int) -> KernelMap:
        """As `submanifold_map`, by walking along the sorted keys instead of searching in them."""
        if keys.device.type != "cpu":
            return super().build_map(keys, stride)
        num = keys.numel()
        steps = torch.tensor([key_offset(*(d * stride for d in offset)) for offset in HALF])
        ins, outs = torch.empty(2, len(HALF), num, dtype=torch.int64).unbind()
        counts = torch.empty_like(steps)
        call("map", keys.contiguous(), steps, ins, outs, counts, len(HALF), num)
        found = zip(HALF, ins, outs, counts.tolist(), strict=True)
        return mirrored_map({offset: (i[:count], o[:count]) for offset, i, o, count in found}, num)

    def prepare(self, kernel_map: KernelMap) -> None:
        """Nothing to do on a CPU: pairs are taken as they are listed."""
        if kernel_map.in_rows.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            super().prepare(kernel_map)

    def convolve(
        self,
        feats: Float[Tensor, "inputs c_in"],
        weight: Float[Tensor, "offsets c_in c_out"],
        kernel_map: KernelMap,
        workspace: Workspace,
    ) -> Float[Tensor, "outputs c_out"]:
        """out[o] = sum over pairs (i, o, k) of feats[i] @ weight[k]; differentiable in feats and weight."""
        if not _fits(feats, weight):
            return super().convolve(feats, weight, kernel_map, workspace)
        output: Tensor = _Convolution.apply(feats, weight, kernel_map)
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
        """As `convolve`, with bias and ReLU as the sums are written; without gradients."""
        if not _fits(feats, weight):
            return super().infer(feats, weight, bias, relu, kernel_map, workspace)
        return _convolve(feats, weight, kernel_map, bias, relu)


def _fits(feats: Tensor, weight: Tensor) -> bool:
    cpu = feats.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return cpu and feats.dtype == weight.dtype == torch.float32


def _pairs(kernel_map: KernelMap) -> list[Any]:
    """The pairs as the library takes them: rows, where each offset begins, offsets, and the centre or -1."""
    starts = (ctypes.c_int64 * (len(kernel_map.counts) + 1))(0, *accumulate(kernel_map.counts))
    center = -1 if kernel_map.center is None else kernel_map.center
    return [kernel_map.in_rows, kernel_map.out_rows, starts, len(kernel_map.counts), center, kernel_map.num_out]


def _convolve(
    feats: Tensor,
    weight: Tensor,
    kernel_map: KernelMap,
    bias: Tensor | None = None,
    relu: bool = False,
    backwards: bool = False,
) -> Tensor:
    """The convolution; `backwards`: with the weights transposed, and read from the last offset where a map is its own
    transpose read backwards.
    """
    feats, weight = feats.contiguous(), weight.contiguous()
    c_in, c_out = weight.shape[1:] if not backwards else weight.shape[:0:-1]
    output = feats.new_empty(kernel_map.num_out, c_out)
    mirrored = backwards and kernel_map.center is not None
    shift = None if bias is None else bias.contiguous()
    flags = int(backwards), int(mirrored), int(relu)
    call("convolve", feats, weight, shift, output, *_pairs(kernel_map), c_in, c_out, *flags)
    return output


def _weight_gradient(feats: Tensor, grad: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    feats = feats.contiguous()
    output = torch.empty(weight.shape)
    call("weight_gradient", feats, grad, output, *_pairs(kernel_map), *weight.shape[1:])
    return output


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, feats: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
        ctx.save_for_backward(feats, weight)
        ctx.kernel_map = kernel_map
        return _convolve(feats, weight, kernel_map)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        feats, weight = ctx.saved_tensors
        kernel_map: KernelMap = ctx.kernel_map
        grad = grad_output.contiguous()
        grad_feats = grad_weight = None
        if ctx.needs_input_grad[0]:
            back = kernel_map if kernel_map.center is not None else kernel_map.transposed
            grad_feats = _convolve(grad, weight, back, backwards=True)
        if ctx.needs_input_grad[1]:
            grad_weight = _weight_gradient(feats, grad, weight, kernel_map)
        return grad_feats, grad_weight, None
