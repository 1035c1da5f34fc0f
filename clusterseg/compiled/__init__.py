"""The parts in plain C, for CPUs, called through `ctypes`. Built on install where a C compiler is; all work without."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clusterseg.errors import UserError

LIBRARY = Path(__file__).with_name("libclusterseg.so")
#: Of the functions in C; a library of another number was built from other sources.
INTERFACE = 5


@cache
def is_built() -> bool:
    """Whether the library is there and can be used."""
    try:
        library()
    except UserError:
        return False
    return True


@cache
def library() -> ctypes.CDLL:
    """The library, loaded once.

    Raises:
        UserError: It is not there, cannot be loaded, or was built from other sources.
    """
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
        if loaded.clusterseg_interface() != INTERFACE:
            raise OSError("it was built from other sources")
    except (OSError, AttributeError) as error:
        raise UserError(
            f"sparse.backend=compiled: {LIBRARY} cannot be used ({error}); install clusterseg anew where a C compiler "
            "(cc) is, or take sparse.backend=native"
        ) from None
    pointer, size, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
    loaded.clusterseg_convolve.argtypes = [pointer] * 7 + [size] * 5 + [number] * 4
    loaded.clusterseg_weight_gradient.argtypes = [pointer] * 6 + [size] * 5 + [number]
    loaded.clusterseg_map.argtypes = [pointer] * 5 + [size] * 2 + [number]
    loaded.clusterseg_lovasz.argtypes = [pointer] * 7 + [size] * 3 + [number]
    loaded.clusterseg_norm.argtypes = [pointer] * 4 + [size] * 2 + [number]
    loaded.clusterseg_norm_gradient.argtypes = [pointer] * 10 + [size] * 2 + [number]
    loaded.clusterseg_voxelize.argtypes = [pointer] * 5 + [size] * 2 + [ctypes.c_float] * 2 + [number]
    loaded.clusterseg_keep_voxels.argtypes = [pointer] * 9 + [size] * 2 + [number]
    return loaded


def call(name: str, *arguments: object) -> None:
    """Call a function of the library with tensors (contiguous, on the CPU), arrays (contiguous) and numbers.

    It runs on PyTorch's number of threads.

    Raises:
        MemoryError: There is no scratch memory.
    """
    given = [_pointer(argument) for argument in arguments]
    if getattr(library(), f"clusterseg_{name}")(*given, torch.get_num_threads()):
        raise MemoryError(f"no scratch memory for {name} in C")


def _pointer(argument: object) -> object:
    if isinstance(argument, Tensor):
        return argument.data_ptr()
    return argument.ctypes.data if isinstance(argument, np.ndarray) else argument
