"""The engine that fits the device: Triton on CUDA where it is installed, else the native one."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from clusterseg.sparse.backends import Backend, get_backend
from clusterseg.sparse.kernel_map import KernelMap
from clusterseg.sparse.workspace import Workspace


class AutoBackend(Backend):
    """Hands each call to the engine for the device of its tensors."""

    def prepare(self, kernel_map: KernelMap) -> None:
        """As the engine for the device of the map does."""
        get_backend(engine_for(kernel_map.in_rows.device)).prepare(kernel_map)

    def convolve(self, feats: Tensor, weight: Tensor, kernel_map: KernelMap, workspace: Workspace) -> Tensor:
        """out[o] = sum over pairs (i, o, k) of feats[i] @ weight[k]; differentiable in feats and weight."""
        return get_backend(engine_for(feats.device)).convolve(feats, weight, kernel_map, workspace)

    def infer(
        self, feats: Tensor, weight: Tensor, bias: Tensor, relu: bool, kernel_map: KernelMap, workspace: Workspace
    ) -> Tensor:
        """As the engine for the device does."""
        engine = get_backend(engine_for(feats.device))
        return engine.infer(feats, weight, bias, relu, kernel_map, workspace)


def engine_for(device: torch.device) -> str:
    """Name of the engine for a device."""
    return "triton" if device.type == "cuda" and find_spec("triton") is not None else "native"
