"""Read arrays: .bin (float32 without a header) and .npy."""

from __future__ import annotations

import tokenize
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from clusterseg.data.clouds.cloud import Cloud, from_fields
from clusterseg.data.clouds.layout import FORMATS, Layout
from clusterseg.data.scan import naming, read_scan
from clusterseg.errors import UserError

_FEW = 20  # fewer points are too few for a decision
_SAMPLED = 20_000  # points used to detect the number of columns
_BINS = 32
_BETTER, _LEAST = 1.25, 0.05  # minimum gain in information for another number of columns: factor, and nats
_FEWER = 0.98  # factor per column: a multiple of the true number has the same information
# Exceptions of numpy's parser for a damaged or hostile header.
_NUMPY_ERRORS = (
    ValueError, TypeError, SyntaxError, tokenize.TokenError, RecursionError, OverflowError, EOFError, OSError,
    KeyError, AttributeError, IndexError, MemoryError,
)  # fmt: skip


def read_bin(path: Path, layout: Layout) -> Cloud:
    """Read float32 columns: x, y, z, remission, or those of the layout.

    Raises:
        UserError: The file does not fit these columns.
    """
    if layout.columns is None:
        values = read_scan(path) if path.stat().st_size % 16 == 0 else _values(path, layout)
        with naming(path):
            _refuse_other_columns(values.ravel())
        return Layout(FORMATS["kitti"]).cloud(values)
    values = _values(path, layout)
    with naming(path):
        rows = values.reshape(-1, len(layout.columns))
        _refuse_other_numbers(rows[:, [layout.columns.index(axis) for axis in "xyz"]], 0.1)
        return layout.cloud(rows)


def read_npy(path: Path, layout: Layout) -> Cloud:
    """Read an array: with fields x, y, z, or (points, columns).

    Raises:
        UserError: It is none of these.
    """
    with open(path, "rb") as file:
        start = file.read(12)
    # From version 2 on the header's length has four bytes; numpy allocates the memory before it reads.
    if start[6:7] > b"\1" and int.from_bytes(start[8:12], "little") > path.stat().st_size:
        raise UserError(f"{path}: is no plain numpy array (its header is longer than the file); save it by np.save")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of unusual headers
            # With a memory map the file's size bounds the data read, whatever the header says.
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
    """Read all numbers of a .bin file; its size must fit the layout."""
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
    """Refuse numbers whose statistics do not look like x, y, z, remission."""
    remedy = "name the columns, as columns=[x,y,z,intensity,ring] or format=nuscenes"
    _refuse_other_numbers(values, 0.25)
    information = {count: _information(values, count) for count in range(3, 9) if len(values) % count == 0}
    best = max(information, key=lambda count: information[count] * _FEWER**count)
    if information[best] > max(information[4] * _BETTER, information[4] + _LEAST):
        raise UserError(
            f"the numbers fit {best} columns better than 4 (x, y, z, remission); {remedy}, or "
            "columns=[x,y,z,remission] if they are four"
        )
    rows = values.reshape(-1, 4)
    _refuse_other_numbers(rows[:, :3], 0.1)
    finite = rows[np.isfinite(rows[:, 3]), 3]
    negative = float((finite < 0).mean()) if len(finite) > _FEW else 0.0
    if negative > 0.05:
        raise UserError(
            f"{100 * negative:.0f} % of the fourth numbers are negative, which remission is not; {remedy}, or "
            "columns=[x,y,z,remission] if they are right"
        )


def _refuse_other_numbers(values: np.ndarray, share: float) -> None:
    """Refuse values impossible for float32 coordinates: mostly numbers of another type, or no numbers."""
    size = np.abs(values[np.isfinite(values)])
    odd = ((size > 1e8) | ((size < 1e-12) & (size > 0))).mean() if len(size) else 0
    if odd > share:
        raise UserError(
            f"{100 * odd:.0f} % of the numbers are no coordinates in metres when read as float32 (largest "
            f"{size.max():.3g}); the file holds another type of numbers or other columns, or is no scan; convert it, "
            "as by np.save of an array (points, 4), or name its columns, as columns=[x,y,z,intensity,ring]"
        )


def _information(values: Float32[np.ndarray, " values"], count: int) -> float:
    """Mutual information of column and value, in nats.

    It is largest for the true number of columns (or a multiple). With another number each column is a mixture, whose
    entropy is higher than that of its parts.
    """
    rows = values.reshape(-1, count)
    if len(rows) > _SAMPLED:  # random rows, because regular steps could coincide with the true columns
        rows = rows[np.random.default_rng(0).integers(0, len(rows), _SAMPLED)]
    rows = rows[np.isfinite(rows).all(1)]
    if len(rows) < _FEW:
        return 0.0
    edges = np.unique(np.quantile(rows, np.linspace(0, 1, _BINS + 1)[1:-1], method="lower"))
    bins = np.searchsorted(edges, rows, side="right")
    counts = np.bincount((bins + (len(edges) + 1) * np.arange(count)).ravel(), minlength=(len(edges) + 1) * count)
    joint = counts.reshape(count, -1) / rows.size
    independent = joint.sum(0) / count
    filled = joint > 0
    total = (joint[filled] * np.log(joint[filled] / np.broadcast_to(independent, joint.shape)[filled])).sum()
    by_chance = len(edges) * (count - 1) / (2 * rows.size)  # expected for independent columns with so few values
    return float(total - by_chance)
