"""The engine of TorchSparse 2.1 (Tang et al., MICRO 2023), on CUDA, from our kernel maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clusterseg.errors import UserError
from clusterseg.sparse.backends import Backend
from clusterseg.sparse.backends.external import in_autocast_dtype, kept, list_pairs, require_cuda
from clusterseg.sparse.kernel_map import KernelMap
from clusterseg.sparse.workspace import Workspace

#: Its settings for a convolution without approximate grouping.
EXACT = {"epsilon": 0.0, "mm_thresh": 0}


class TorchSparseBackend(Backend):
    """Gather-multiply-scatter of TorchSparse; its pairs and our weight order are the same.

    Raises:
        UserError: TorchSparse cannot be imported.
    """

    def __init__(self) -> None:
        try:
            from torchsparse.nn.functional.conv.func import gather_scatter
        except Exception as error:  # version 2.1 fails in many ways without a GPU
            raise UserError(
                f"sparse.backend=torchsparse cannot be imported ({error}). It is not on the package index: build "
                "version 2.1 on a machine with a CUDA compiler by "
                "`pip install git+https://github.com/mit-han-lab/torchsparse.git`, or use sparse.backend=auto"
            ) from None
        self._function = gather_scatter.GatherScatterConvolutionFuntion

    def convolve(self, feats: Tensor, weight: Tensor, kernel_map: KernelMap, workspace: Workspace) -> Tensor:
        """out[o] = sum over pairs (i, o, k) of feats[i] @ weight[k]; differentiable in feats and weight.

        Raises:
            UserError: The features are not on CUDA, or in a dtype that TorchSparse does not know.
        """
        require_cuda("torchsparse", feats, "its CPU code hashes batches wrongly and its gradient damages memory")
        feats, weight = in_autocast_dtype("torchsparse", feats, weight, (torch.float32, torch.float16))
        output: Tensor = self._function.apply(feats, weight, kept(kernel_map, "torchsparse", _as_table), EXACT, False)
        return output


def _as_table(kernel_map: KernelMap) -> dict[str, Any]:
    """A kernel map in TorchSparse's form: (input, output) rows of the pairs, offset by offset.

    The centre is listed: its forward pass skips it, its backward pass does not.
    """
    pairs = list_pairs(kernel_map)
    none = pairs.in_rows.new_empty(0, dtype=torch.int32)
    return {
        "nbmaps": torch.stack([pairs.in_rows, pairs.out_rows], 1).int(),
        "nbsizes": torch.tensor(pairs.counts, dtype=torch.int32),
        "sizes": (kernel_map.num_in, kernel_map.num_out),
        "input_mask": none,
        "output_mask": none,
    }
