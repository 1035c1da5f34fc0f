"""The engine that fits the device: on a CPU the compiled one where it was built, else the native one.

On CUDA it is the native one too, for as long as the Triton kernels have not run on a GPU: ask for them by name.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from clusterseg.compiled import is_built
from clusterseg.sparse.backends import Backend, get_backend
from clusterseg.sparse.kernel_map import KernelMap
from clusterseg.sparse.workspace import Workspace


class AutoBackend(Backend):
    """Hands each call to the engine for the device of its tensors."""

    def build_map(self, keys: Int[Tensor, " voxels"], stride: int) -> KernelMap:
        """As the engine for the device of the keys does."""
        return _engine(keys).build_map(keys, stride)

    def prepare(self, kernel_map: KernelMap) -> None:
        """As the engine for the device of the map does."""
        _engine(kernel_map.in_rows).prepare(kernel_map)

    def convolve(self, feats: Tensor, weight: Tensor, kernel_map: KernelMap, workspace: Workspace) -> Tensor:
        """out[o] = sum over pairs (i, o, k) of feats[i] @ weight[k]; differentiable in feats and weight."""
        return _engine(feats).convolve(feats, weight, kernel_map, workspace)

    def infer(
        self, feats: Tensor, weight: Tensor, bias: Tensor, relu: bool, kernel_map: KernelMap, workspace: Workspace
    ) -> Tensor:
        """As the engine for the device does."""
        return _engine(feats).infer(feats, weight, bias, relu, kernel_map, workspace)


def engine_for(device: torch.device) -> str:
    """Name of the engine for a device."""
    return "compiled" if device.type == "cpu" and is_built() else "native"


def _engine(tensor: Tensor) -> Backend:
    return get_backend(engine_for(tensor.device))
