"""Binary files of records of one size: points, labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clusterseg.errors import UserError


def count_records(path: Path, width: int, noun: str) -> int:
    """Return the number of records of a file by its size; the file is not opened.

    Args:
        path: The file.
        width: Bytes of a record.
        noun: What a record is, in the plural, for messages.

    Raises:
        UserError: The file is missing or empty, or its size is not a whole number of records.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(
            f"{path}: no such file, and the data set lists it ({error.strerror}); download it again"
        ) from None
    if size == 0 or size % width:
        raise UserError(
            f"{path}: {size} bytes, expected {noun} of {width} bytes each, at least one; "
            "the file is cut off or of another format: download it again"
        )
    return size // width


def read_records(path: Path, dtype: str, columns: int, noun: str) -> np.ndarray:
    """Read a file of records as an array (records, columns).

    Raises:
        UserError: See `count_records`; or the file cannot be read.
    """
    kind = np.dtype(dtype)
    count_records(path, kind.itemsize * columns, noun)
    try:
        return np.fromfile(path, kind).reshape(-1, columns)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions and the disk") from None


def require_same(path: Path, labels: int, scan: Path, points: int) -> None:
    """Refuse a label file that has not one label for each point.

    Raises:
        UserError: The numbers differ.
    """
    if labels != points:
        raise UserError(
            f"{path}: {labels} labels, but its scan {scan} has {points} points; one label is needed for each "
            "point, in the order of the scan (of a data set: download both from the same version of it)"
        )
