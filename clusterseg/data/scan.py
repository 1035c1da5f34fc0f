"""Scan files in the SemanticKITTI format: `.bin` points and `.label` labels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Integer, UInt32

from clusterseg.errors import UserError
from clusterseg.files import write_file

_POINT_BYTES = 16  # x, y, z, remission as float32
_LABEL_BYTES = 4


@contextmanager
def naming(source: Path | str) -> Iterator[None]:
    """Context manager that prefixes a `UserError` with the name of a file or scan."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def check_scan_size(path: Path, size: int) -> int:
    """Return the number of points in a `.bin` file of `size` bytes.

    Raises:
        UserError: The file is empty, or its size is not a whole number of points.
    """
    if size == 0:
        raise UserError(f"{path}: the scan is empty (0 bytes, no points); remove it or download it again")
    if size % _POINT_BYTES:
        raise UserError(
            f"{path}: {size} bytes is not a multiple of {_POINT_BYTES} (x, y, z, remission as float32); "
            "the file is cut off or of another format: download it again"
        )
    return size // _POINT_BYTES


def check_label_size(path: Path, size: int, num_points: int) -> None:
    """Check that a `.label` file of `size` bytes has one label per point.

    Raises:
        UserError: It has more or fewer labels than the scan has points.
    """
    if size != num_points * _LABEL_BYTES:
        raise UserError(
            f"{path}: {size} bytes are {size / _LABEL_BYTES:g} labels (uint32), but its scan has {num_points} points; "
            "one label is needed for each point, in the order of the scan (of a data set: download both again)"
        )


def read_scan(path: Path) -> Float32[np.ndarray, "points 4"]:
    """Read a `.bin` file: x, y, z in metres in the sensor's frame, and remission in [0, 1], all float32.

    Values are returned as on disk and may be NaN or infinite.

    Raises:
        UserError: The file is missing, unreadable, empty, or not a whole number of points.
    """
    check_scan_size(path, _file_size(path, "scan"))
    return _read(path, "<f4").reshape(-1, 4)


def read_labels(path: Path, num_points: int) -> UInt32[np.ndarray, " points"]:
    """Read a `.label` file: low 16 bits the raw semantic id, high 16 bits the instance.

    Raises:
        UserError: The file is missing, unreadable, or does not have `num_points` labels.
    """
    check_label_size(path, _file_size(path, "label file"), num_points)
    return _read(path, "<u4")


def write_scan(path: Path, points: Float32[np.ndarray, "points 4"]) -> None:
    """Write x, y, z (metres), remission atomically as a `.bin` file.

    Raises:
        UserError: The folder cannot be written.
    """
    write_file(path, points.astype("<f4").tobytes())


def write_labels(path: Path, labels: Integer[np.ndarray, " points"]) -> None:
    """Write raw labels (semantic id, or instance << 16 | id) atomically as a `.label` file.

    Raises:
        UserError: The folder cannot be written.
    """
    write_file(path, labels.astype("<u4").tobytes())


def _read(path: Path, dtype: str) -> np.ndarray:
    try:
        return np.fromfile(path, np.dtype(dtype))
    except OSError as error:  # the file or the disk has disappeared since its size was read
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the disk") from error


def _file_size(path: Path, noun: str) -> int:
    if not path.is_file():
        raise UserError(f"{path}: no such {noun}; check the path, or download it")
    if not os.access(path, os.R_OK):
        raise UserError(f"{path}: this {noun} may not be read; check its permissions")
    return path.stat().st_size
