"""Placeholders for objects stored beside the weights, so that `weights_only=True` can skip them.

mmengine stores the history of its losses in each checkpoint, as its own objects that hold arrays of NumPy
(open-mmlab/mmengine issue 1655). None of it is of use here, and none of its code is called: each name in the file that
stands for it is read as `Inert`, whether mmengine is installed or not.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

#: Names of classes and functions in such files.
BOOKKEEPING = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "builtins.getattr",  # pickle stores a method of that class in this way
    "__builtin__.getattr",
    *(
        f"numpy.{core}.multiarray.{function}"
        for core in ("core", "_core")
        for function in ("_reconstruct", "scalar", "_frombuffer")
    ),
    "numpy.ndarray",
    "numpy.dtype",
)


class Inert:
    """Accepts any arguments and stores nothing."""

    def __init__(self, *arguments: Any) -> None: ...

    def __new__(cls, *arguments: Any) -> Inert:
        """Create a placeholder from any arguments."""
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None: ...


def bookkeeping_is_inert() -> AbstractContextManager[Any]:
    """Let `torch.load(weights_only=True)` read `BOOKKEEPING` as `Inert`."""
    return torch.serialization.safe_globals([(Inert, name) for name in BOOKKEEPING])
