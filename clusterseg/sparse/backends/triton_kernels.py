"""Triton kernels of the sparse convolution and what launches them.

The forward pass and the input gradient are one kernel: a block of output voxels goes through the offsets, gathers the
neighbours under each and multiplies them on the tensor cores, as an implicit matrix product (Tang et al.,
"TorchSparse++", MICRO 2023). The weight gradient goes through the list of pairs of each offset.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from statistics import median

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.runtime.errors import OutOfResources, PTXASError

from clusterseg.sparse.backends.triton_tuning import Block, Tuner, choices_file, shape_class

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
#: Few candidates, for each is compiled for every alignment of channels. The interpreter cannot time; it takes one.
BLOCKS = (
    (Block(64, 32, 16, 1, 1),)
    if INTERPRETED
    else (
        Block(64, 32, 32, 4, 3),
        Block(64, 64, 32, 4, 3),
        Block(128, 64, 32, 4, 3),
        Block(128, 128, 32, 8, 3),
    )
)
#: The pairs of an offset are summed in so many parts at most, so that there are enough blocks for a GPU.
MAX_PARTS = 16
#: Pairs that are worth a part of their own.
PART = 64 if INTERPRETED else 2048


@cache
def _tuner(device: torch.device) -> Tuner:
    """The choices of one device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return Tuner(BLOCKS, _seconds, (OutOfResources, PTXASError), choices_file(), f"{name}, Triton {triton.__version__}")


def _seconds(launch: Callable[[], None]) -> float:
    """Median time of a launch on the current CUDA stream, after two that compile it and warm up."""
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(8)]
    for _ in range(2):
        launch()
    for mark in marks[:-1]:
        mark.record()
        launch()
    marks[-1].record()
    torch.cuda.synchronize()
    return median(first.elapsed_time(second) for first, second in pairwise(marks)) / 1e3


def gather_multiply(feats: Tensor, weight: Tensor, table: Tensor, order: Tensor, kind: str = "forward") -> Tensor:
    """output[order[r]] = sum over offsets k of feats[table[k, r]] @ weight[k]; the weight in any memory layout.

    `kind` names the use (`forward`, `input_gradient`); each has block sizes of its own.
    """
    offsets, num_out = table.shape
    _, c_in, c_out = weight.shape
    output = feats.new_empty(num_out, c_out)
    precision = _precision(feats)

    def launch(block: Block) -> None:
        grid = triton.cdiv(num_out, block.rows), triton.cdiv(c_out, block.outputs)
        _gather_multiply[grid](
            feats,
            weight,
            table,
            order,
            output,
            num_out,
            c_in,
            c_out,
            *weight.stride(),
            offsets,
            PRECISION=precision,
            VOXELS=block.rows,
            OUTPUTS=block.outputs,
            INPUTS=block.inputs,
            num_warps=block.warps,
            num_stages=block.stages,
        )

    name = shape_class(kind, num_out, c_in, c_out, offsets, f"{feats.dtype} {precision}")
    launch(_tuner(feats.device).choose(name, c_out, launch))
    return output


def sum_outer_products(
    feats: Tensor, grad: Tensor, in_rows: Tensor, out_rows: Tensor, starts: Tensor, longest: int
) -> Tensor:
    """result[k] = sum over pairs (i, o) of offset k of feats[i]^T grad[o], (offsets, c_in, c_out) float32."""
    offsets, c_in, c_out = starts.numel() - 1, feats.shape[1], grad.shape[1]
    parts = max(1, min(MAX_PARTS, longest // PART))
    partial = torch.empty(parts, offsets, c_in, c_out, device=feats.device)
    precision = _precision(feats)

    def launch(block: Block) -> None:
        grid = offsets * parts, triton.cdiv(c_in, block.inputs), triton.cdiv(c_out, block.outputs)
        _sum_outer_products[grid](
            feats,
            grad,
            in_rows,
            out_rows,
            starts,
            partial,
            c_in,
            c_out,
            offsets,
            parts,
            PRECISION=precision,
            PAIRS=block.rows,
            OUTPUTS=block.outputs,
            INPUTS=block.inputs,
            num_warps=block.warps,
            num_stages=block.stages,
        )

    name = shape_class("weight_gradient", longest, c_in, c_out, offsets, f"{feats.dtype} {precision}")
    launch(_tuner(feats.device).choose(name, c_out, launch))
    return partial.sum(0)


def _precision(feats: Tensor) -> str:
    """TF32 where PyTorch's own matrix products may use it; of no effect in half precision."""
    return "tf32" if feats.is_cuda and torch.backends.cuda.matmul.allow_tf32 else "ieee"


@triton.jit(do_not_specialize=["num_out"])  # or rows that 16 divides would be compiled for anew
def _gather_multiply(
    feats,
    weight,
    table,
    order,
    output,
    num_out,
    c_in,
    c_out,
    stride_k,
    stride_i,
    stride_o,
    offsets,
    PRECISION: tl.constexpr,
    VOXELS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    rows = tl.program_id(0) * VOXELS + tl.arange(0, VOXELS)
    columns = tl.program_id(1) * OUTPUTS + tl.arange(0, OUTPUTS)
    total = tl.zeros((VOXELS, OUTPUTS), tl.float32)
    for k in range(offsets):
        source = tl.load(table + k * num_out + rows, mask=rows < num_out, other=-1).to(tl.int64)
        if tl.max(source, axis=0) >= 0:
            for first in range(0, c_in, INPUTS):
                inner = first + tl.arange(0, INPUTS)
                left = tl.load(
                    feats + source[:, None] * c_in + inner[None, :],
                    mask=(source[:, None] >= 0) & (inner[None, :] < c_in),
                    other=0.0,
                )
                right = tl.load(
                    weight + k * stride_k + inner[:, None] * stride_i + columns[None, :] * stride_o,
                    mask=(inner[:, None] < c_in) & (columns[None, :] < c_out),
                    other=0.0,
                )
                total = tl.dot(left, right, total, input_precision=PRECISION)
    target = tl.load(order + rows, mask=rows < num_out, other=0)
    tl.store(
        output + target[:, None] * c_out + columns[None, :],
        total.to(output.dtype.element_ty),
        mask=(rows[:, None] < num_out) & (columns[None, :] < c_out),
    )


@triton.jit(do_not_specialize=["parts"])
def _sum_outer_products(
    feats,
    grad,
    in_rows,
    out_rows,
    starts,
    partial,
    c_in,
    c_out,
    offsets,
    parts,
    PRECISION: tl.constexpr,
    PAIRS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    INPUTS: tl.constexpr,
):
    k = tl.program_id(0) % offsets
    part = tl.program_id(0) // offsets
    inner = tl.program_id(1) * INPUTS + tl.arange(0, INPUTS)
    columns = tl.program_id(2) * OUTPUTS + tl.arange(0, OUTPUTS)
    start = tl.load(starts + k)
    stop = tl.load(starts + k + 1)
    length = tl.cdiv(tl.cdiv(stop - start, parts), PAIRS) * PAIRS
    last = tl.minimum(start + (part + 1) * length, stop)
    total = tl.zeros((INPUTS, OUTPUTS), tl.float32)
    for first in range(start + part * length, last, PAIRS):
        pairs = first + tl.arange(0, PAIRS)
        i = tl.load(in_rows + pairs, mask=pairs < last, other=0)
        o = tl.load(out_rows + pairs, mask=pairs < last, other=0)
        left = tl.load(
            feats + i[None, :] * c_in + inner[:, None],
            mask=(pairs[None, :] < last) & (inner[:, None] < c_in),
            other=0.0,
        )
        right = tl.load(
            grad + o[:, None] * c_out + columns[None, :],
            mask=(pairs[:, None] < last) & (columns[None, :] < c_out),
            other=0.0,
        )
        total = tl.dot(left, right, total, input_precision=PRECISION)
    place = ((part * offsets + k) * c_in + inner[:, None]) * c_out + columns[None, :]
    tl.store(partial + place, total, mask=(inner[:, None] < c_in) & (columns[None, :] < c_out))
