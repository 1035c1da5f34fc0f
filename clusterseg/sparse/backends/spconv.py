"""The engine of spconv 2.x, on CUDA, from our kernel maps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from clusterseg.errors import UserError
from clusterseg.sparse.backends import Backend
from clusterseg.sparse.backends.external import in_autocast_dtype, kept, list_pairs, require_cuda
from clusterseg.sparse.kernel_map import KernelMap
from clusterseg.sparse.workspace import Workspace


class IndicePairs(NamedTuple):
    """A kernel map in spconv's form.

    Attributes:
        pairs: (2, offsets, longest list) int32: input and output rows under each offset, filled up by -1.
        counts: (offsets,) int32.
    """

    pairs: Tensor
    counts: Tensor


class SpconvBackend(Backend):
    """Gather-multiply-scatter of spconv, algorithm `Native`.

    Raises:
        UserError: Spconv cannot be imported.
    """

    def __init__(self) -> None:
        try:
            from spconv.core import ConvAlgo
            from spconv.pytorch import functional
        except Exception as error:  # also a wheel for another CUDA version
            raise UserError(
                f"sparse.backend=spconv cannot be imported ({error}). Install the wheel for your CUDA version, e.g. "
                "`pip install spconv-cu120`, or use sparse.backend=auto"
            ) from None
        self._function, self._algorithm = functional.SparseConvFunction, ConvAlgo.Native

    def convolve(self, feats: Tensor, weight: Tensor, kernel_map: KernelMap, workspace: Workspace) -> Tensor:
        """out[o] = sum over pairs (i, o, k) of feats[i] @ weight[k]; differentiable in feats and weight.

        Raises:
            UserError: The features are not on CUDA, or in a dtype other than float32 and float16.
        """
        require_cuda("spconv", feats, "its CPU code is wrong with two threads and has no gradient")
        feats, weight = in_autocast_dtype("spconv", feats, weight, (torch.float32, torch.float16))
        table = kept(kernel_map, "spconv", _as_indice_pairs)
        output: Tensor = self._function.apply(
            feats, _as_filters(weight), table.pairs, table.counts, kernel_map.num_out, self._algorithm
        )
        return output


def _as_indice_pairs(kernel_map: KernelMap) -> IndicePairs:
    rows = list_pairs(kernel_map)
    table = rows.in_rows.new_full((2, len(rows.counts), max(rows.counts)), -1, dtype=torch.int32)
    start = 0
    for k, count in enumerate(rows.counts):
        table[0, k, :count] = rows.in_rows[start : start + count]
        table[1, k, :count] = rows.out_rows[start : start + count]
        start += count
    return IndicePairs(table, torch.tensor(rows.counts, dtype=torch.int32, device=table.device))


def _as_filters(weight: Tensor) -> Tensor:
    """(offsets, C_in, C_out) as (C_out, side, side, side, C_in); the pairs carry our order of the offsets."""
    offsets, c_in, c_out = weight.shape
    side = round(offsets ** (1 / 3))
    return weight.permute(2, 0, 1).reshape(c_out, side, side, side, c_in).contiguous()
