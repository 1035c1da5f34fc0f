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

_FEW = 20  # points that tell nothing
_SAMPLED = 20_000  # points that are looked at to tell the columns
_BINS = 32
_BETTER, _LEAST = 1.25, 0.05  # how much more another number of columns must tell: as a factor, and in nats
_FEWER = 0.98  # per column: a multiple of the true number tells as much
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
        _refuse_other_numbers(rows[:, [layout.columns.index(axis) for axis in "xyz"]], 0.1)
        return layout.cloud(rows)


def read_npy(path: Path, layout: Layout) -> Cloud:
    """Read an array: with fields x, y, z, or (points, columns).

    Raises:
        UserError: It is none of these.
    """
    with open(path, "rb") as file:
        start = file.read(12)
    # From version 2 on the header's length has four bytes; numpy takes the memory before it reads.
    if start[6:7] > b"\1" and int.from_bytes(start[8:12], "little") > path.stat().st_size:
        raise UserError(f"{path}: is no plain numpy array (its header is longer than the file); save it by np.save")
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
    remedy = "name the columns, as columns=[x,y,z,intensity,ring] or format=nuscenes"
    _refuse_other_numbers(values, 0.25)
    told = {count: _information(values, count) for count in range(3, 9) if len(values) % count == 0}
    best = max(told, key=lambda count: told[count] * _FEWER**count)
    if told[best] > max(told[4] * _BETTER, told[4] + _LEAST):
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
    """Refuse what float32 coordinates cannot be: most often numbers of another type, or no numbers at all."""
    size = np.abs(values[np.isfinite(values)])
    odd = ((size > 1e8) | ((size < 1e-12) & (size > 0))).mean() if len(size) else 0
    if odd > share:
        raise UserError(
            f"{100 * odd:.0f} % of the numbers are no coordinates in metres when read as float32 (largest "
            f"{size.max():.3g}); the file holds another type of numbers or other columns, or is no scan; convert it, "
            "as by np.save of an array (points, 4), or name its columns, as columns=[x,y,z,intensity,ring]"
        )


def _information(values: Float32[np.ndarray, " values"], count: int) -> float:
    """What the column tells of a value, in nats: the mutual information of the two.

    With the true number of columns (or a multiple) it is the largest. With another number the columns hold mixtures,
    whose entropy is higher than that of what is mixed.
    """
    rows = values.reshape(-1, count)
    if len(rows) > _SAMPLED:  # at random, for regular steps could meet the true columns again and again
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
    told = (joint[filled] * np.log(joint[filled] / np.broadcast_to(independent, joint.shape)[filled])).sum()
    by_chance = len(edges) * (count - 1) / (2 * rows.size)  # what independent columns tell of so few values
    return float(told - by_chance)
