"""Read data frames that pandas pickled, without pandas and without running what a pickle may ask for.

A pickle is a program: unpickling calls what it names. Here it may name nothing but the few constructors below, each of
which is replaced by a stand-in of ours that only keeps its arguments; numpy arrays are built from their bytes, and
arrays of objects only from text.
"""

from __future__ import annotations

import gzip
import io
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from clusterseg.errors import UserError

_LARGEST = 1 << 30  # bytes; a frame of PandaSet has 8 million
#: What is raised by damaged data, by that of another kind, and by stand-ins in an order that pandas never writes.
_ERRORS = (
    pickle.UnpicklingError, OSError, EOFError, zlib.error, ValueError, TypeError, KeyError, IndexError, AttributeError,
    OverflowError, MemoryError, UnicodeDecodeError,
)  # fmt: skip


def read_frame(path: Path) -> dict[str, np.ndarray]:
    """Read a `.pkl.gz` file of a data frame: its columns by name.

    Raises:
        UserError: The file is missing, damaged, or holds anything else than a data frame of numbers.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; download it again")
    try:
        with gzip.open(path) as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"more than {_LARGEST} bytes")
        return _columns(_Restricted(io.BytesIO(content)).load())
    except _ERRORS as error:
        raise UserError(
            f"{path}: holds no data frame of numbers as pandas pickles it ({str(error)[:200]}); nothing of it was run; "
            "download it again"
        ) from None


class _Kept:
    """A stand-in that keeps its arguments and its state and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Frame(_Kept):
    """Stands for `pandas.DataFrame`."""


class _Manager(_Kept):
    """Stands for the `BlockManager`, whose state holds axes and blocks."""


class _Index(_Kept):
    """Stands for an index; `_new_Index(kind, {"data": array})` builds it."""


class _Array(_Kept):
    """Stands for an array until its state says shape, type and bytes."""

    def built(self) -> np.ndarray:
        """Return the array.

        Raises:
            ValueError: It is neither of numbers nor of text, or its bytes do not fit.
        """
        _, shape, kind, fortran, content = self.state
        if kind.name == "O8":
            return np.array([_text(each) for each in content], dtype=str)
        return np.frombuffer(content, kind.built()).reshape(shape, order="F" if fortran else "C")


class _Kind(_Kept):
    """Stands for a numpy type."""

    @property
    def name(self) -> Any:
        """Its name, such as `f8`."""
        return self.arguments[0]

    def built(self) -> np.dtype:
        """Return the type of a number.

        Raises:
            ValueError: It is another type.
        """
        order = self.state[1] if self.state else "<"
        if self.name not in ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8") or order not in "<>|=":
            raise ValueError(f"a column of type {self.name!r}")
        return np.dtype(f"{order}{self.name}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a name that is no text: {value!r}")
    return value


_ALLOWED: dict[tuple[str, str], Any] = {
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.internals.managers", "BlockManager"): _Manager,
    ("pandas.core.indexes.base", "Index"): _Index,
    ("pandas.core.indexes.range", "RangeIndex"): _Index,
    ("pandas.core.indexes.base", "_new_Index"): _Index,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("builtins", "slice"): slice,
}


class _Restricted(pickle.Unpickler):
    """Refuses every name that is not allowed."""

    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return found


def _columns(frame: Any) -> dict[str, np.ndarray]:
    """Take the columns out of a frame: its manager's state is (axes, arrays, indexes, {version: {axes, blocks}})."""
    if not isinstance(frame, _Frame):
        raise ValueError(f"it holds {type(frame).__name__}")
    state = frame.state["_data"].state[3]["0.14.1"]
    names = state["axes"][0].arguments[1]["data"].built()
    columns: dict[str, np.ndarray] = {}
    for block in state["blocks"]:
        places = range(len(names))[block["mgr_locs"]]
        for place, values in zip(places, block["values"].built(), strict=True):
            columns[str(names[place])] = values
    if len({values.shape for values in columns.values()}) != 1 or next(iter(columns.values())).ndim != 1:
        raise ValueError("its columns differ in length, or there is none")
    return columns
