"""Engines behind one small interface: build a kernel map, convolve."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from clusterseg.sparse.backends.native import NativeBackend
from clusterseg.sparse.kernel_map import KernelMap
from clusterseg.sparse.workspace import Workspace


class Backend(Protocol):
    """What an engine must offer."""

    def build_map(self, keys: Tensor, stride: int) -> KernelMap:
        """The 3x3x3 submanifold map of sorted keys."""

    def convolve(self, feats: Tensor, weight: Tensor, kernel_map: KernelMap, workspace: Workspace) -> Tensor:
        """out[o] = sum over pairs (i, o, k) of feats[i] @ weight[k]; differentiable in feats and weight."""


_BACKENDS: dict[str, type] = {"native": NativeBackend}


def get_backend(name: str) -> Backend:
    """The engine of that name.

    Raises:
        ValueError: The name is not one of the engines.
    """
    if name not in _BACKENDS:
        raise ValueError(f"sparse.backend={name} is not an engine, expected one of {', '.join(sorted(_BACKENDS))}")
    backend: Backend = _BACKENDS[name]()
    return backend
