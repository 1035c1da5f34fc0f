"""Engines behind one small interface: build a kernel map, convolve."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module

from torch import Tensor

from clusterseg.errors import UserError
from clusterseg.sparse.kernel_map import KernelMap, submanifold_map
from clusterseg.sparse.workspace import Workspace


class Backend(ABC):
    """Interface of an engine."""

    def build_map(self, keys: Tensor, stride: int) -> KernelMap:
        """Build the 3x3x3 submanifold map of sorted keys; an engine may have a faster way."""
        return submanifold_map(keys, stride)

    def prepare(self, kernel_map: KernelMap) -> None:  # noqa: B027  (nothing to do is a good default)
        """Bring a kernel map into the engine's own form before the first layer needs it; by default nothing is done."""

    @abstractmethod
    def convolve(self, feats: Tensor, weight: Tensor, kernel_map: KernelMap, workspace: Workspace) -> Tensor:
        """out[o] = sum over pairs (i, o, k) of feats[i] @ weight[k]; differentiable in feats and weight."""

    def infer(
        self, feats: Tensor, weight: Tensor, bias: Tensor, relu: bool, kernel_map: KernelMap, workspace: Workspace
    ) -> Tensor:
        """Convolve, add a bias and apply ReLU, without gradients; an engine may do it while the rows are in cache."""
        output = self.convolve(feats, weight, kernel_map, workspace)
        output.add_(bias)
        return output.clamp_min_(0) if relu else output


#: The class of each engine, in a module of its name that is imported when it is first asked for.
BACKENDS = {
    "native": "NativeBackend",
    "compiled": "CompiledBackend",
    "triton": "TritonBackend",
    "torchsparse": "TorchSparseBackend",
    "spconv": "SpconvBackend",
    "auto": "AutoBackend",
}


def get_backend(name: str) -> Backend:
    """Return the engine of that name.

    Raises:
        UserError: The name is not one of the engines, or its package is not installed.
    """
    if name not in BACKENDS:
        raise UserError(f"sparse.backend={name} is not an engine, expected one of {', '.join(BACKENDS)}")
    backend: Backend = getattr(import_module(f"{__name__}.{name}"), BACKENDS[name])()
    return backend
