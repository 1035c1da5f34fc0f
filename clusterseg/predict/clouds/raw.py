"""Files of plain numbers: .bin (float32 without a header) and numpy's .npy."""

from __future__ import annotations

import tokenize
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from clusterseg.data.scan import naming, read_scan
from clusterseg.errors import UserError
from clusterseg.predict.clouds.cloud import Cloud, from_fields
from clusterseg.predict.clouds.layout import FORMATS, Layout

_SAMPLED = 20_000  # points that are looked at to tell the columns
_BETTER = 0.35  # by how much (natural logarithm, mean over columns) another column count must be narrower
# What a damaged or hostile header makes numpy's own parser raise; all of it is about the file.
_NUMPY_ERRORS = (
    ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, OverflowError, EOFError, OSError,
    KeyError, AttributeError, IndexError, MemoryError,
)  # fmt: skip


def read_bin(path: Path, layout: Layout) -> Cloud:
    """Read float32 columns: x, y, z, remission, or those that the layout names.

    Raises:
        UserError: The file does not hold them.
    """
    if layout.columns is None:
        values = read_scan(path) if path.stat().st_size % 16 == 0 else _values(path, layout)
        with naming(path):
            _refuse_other_columns(values.ravel())
        return Layout(FORMATS["kitti"]).cloud(values)
    values = _values(path, layout)
    with naming(path):
        rows = values.reshape(-1, len(layout.columns))
        _refuse_other_numbers(values)
        return layout.cloud(rows)


def read_npy(path: Path, layout: Layout) -> Cloud:
    """Read an array: with fields x, y, z, or (points, columns).

    Raises:
        UserError: It is none of these.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's remarks on odd headers
            # Mapped, the file's size bounds what is read, whatever the header says.
            array = np.load(path, allow_pickle=False, mmap_mode="r")
    except _NUMPY_ERRORS as error:
        raise UserError(f"{path}: is no plain numpy array ({error}); save it by np.save(path, array)") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: is an archive (.npz), no plain numpy array; save it by np.save(path, array)")
    with naming(path):
        if array.dtype.names:
            numbers = [name for name in array.dtype.names if array.dtype[name].kind in "fiu"]
            return from_fields({name: np.asarray(array[name]).ravel() for name in numbers})
        if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
            raise UserError(
                f"an array {array.shape} of {array.dtype}; expected (points, 4): x, y, z, remission, "
                "or (points, 3) without remission"
            )
        return layout.cloud(np.asarray(array))


def _values(path: Path, layout: Layout) -> Float32[np.ndarray, " values"]:
    """All numbers of a .bin file, whose size must fit the layout."""
    size = path.stat().st_size
    width = 4 * len(layout.columns or FORMATS["kitti"])
    if size == 0:
        raise UserError(f"{path}: the scan is empty (0 bytes, no points); remove it or download it again")
    if size % width:
        raise UserError(
            f"{path}: {size} bytes are not a multiple of {width}, the size of a point with the columns "
            f"{', '.join(layout.columns or FORMATS['kitti'])} as float32; the file is cut off, or has other columns"
            f"{_fitting(size)}: name them, as columns=[x,y,z,intensity,ring] or format=nuscenes"
        )
    return np.fromfile(path, "<f4")


def _fitting(size: int) -> str:
    counts = [str(count) for count in range(3, 9) if size % (4 * count) == 0]
    return f" ({' or '.join(counts)} would fit)" if counts else ""


def _refuse_other_columns(values: Float32[np.ndarray, " values"]) -> None:
    """Refuse numbers that are not x, y, z, remission by the looks of them."""
    _refuse_other_numbers(values)
    finite = values.reshape(-1, 4)[:, 3]
    finite = finite[np.isfinite(finite)]
    negative = float((finite < 0).mean()) if len(finite) else 0.0
    spreads = {count: _spread(values, count) for count in range(3, 9) if len(values) % count == 0}
    best = min(spreads, key=lambda count: spreads[count] + 0.05 * count / 8)
    remedy = "name the columns, as columns=[x,y,z,intensity,ring] or format=nuscenes"
    if best % 4 and spreads[best] < spreads[4] - _BETTER:
        raise UserError(
            f"the numbers fit {best} columns better than 4 (x, y, z, remission); {remedy}, or "
            "columns=[x,y,z,remission] if they are four"
        )
    if best == 8 and spreads[8] < spreads[4] - _BETTER:
        raise UserError(f"the numbers fit 8 columns better than 4 (x, y, z, remission); {remedy}")
    if negative > 0.05 and len(finite) > 20:
        raise UserError(
            f"{100 * negative:.0f} % of the fourth numbers are negative, which remission is not; {remedy}, or "
            "columns=[x,y,z,remission] if they are right"
        )


def _refuse_other_numbers(values: Float32[np.ndarray, " values"]) -> None:
    """Refuse what float32 coordinates cannot be: most often numbers of another type, or no numbers at all."""
    size = np.abs(values[np.isfinite(values)])
    odd = ((size > 1e8) | ((size < 1e-12) & (size > 0))).mean() if len(size) else 0
    if odd > 0.1:
        raise UserError(
            f"{100 * odd:.0f} % of the numbers are no coordinates in metres when read as float32 (largest "
            f"{size.max():.3g}); the file holds another type of numbers, or is no scan; convert it, as by "
            "np.save of an array (points, 4)"
        )


def _spread(values: Float32[np.ndarray, " values"], count: int) -> float:
    """Mean logarithm of the columns' widths: least where each column holds values of one kind."""
    rows = values.reshape(-1, count)
    rows = rows[:: max(1, len(rows) // _SAMPLED)]
    rows = rows[np.isfinite(rows).all(1)]
    if len(rows) < 20:
        return 0.0
    low, high = np.percentile(rows, [10, 90], axis=0)
    return float(np.log(high - low + 0.05).mean())
