"""Surveyors' .las and .laz files, by the optional package laspy."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from clusterseg.errors import UserError
from clusterseg.predict.clouds.cloud import Cloud

_RATIO = 2000  # points never compress better; a header that says so lies
_SPARE = 1 << 20  # bytes of points that are believed of any file


def read_las(path: Path) -> Cloud:
    """Read a .las or .laz file.

    Raises:
        UserError: laspy is not installed, or the file is damaged.
    """
    try:
        import laspy
    except ImportError:
        raise UserError(f"{path}: reading {path.suffix} needs laspy; pip install 'clusterseg[las]'") from None
    _check_sizes(path)
    try:
        # Extended records are not needed, and their sizes are the header's word alone.
        with laspy.open(path, read_evlrs=False) as reader:
            points = reader.read_points(-1)
            las = laspy.LasData(reader.header, points)
        xyz = np.asarray(las.xyz, np.float64)
        intensity = np.asarray(las.intensity)
        fields = {name: np.asarray(las[name]) for name in las.point_format.dimension_names}
    except Exception as error:  # laspy and its decompressor raise many kinds, all of them about the file
        raise UserError(f"{path}: cannot be read ({error}); the file is damaged or no {path.suffix} file") from None
    own = ("x", "y", "z", "intensity")
    others = {name.lower(): v for name, v in fields.items() if v.ndim == 1 and name.lower() not in own}
    return Cloud(xyz, intensity.astype(np.float64), others, intensity.dtype)


def _check_sizes(path: Path) -> None:
    """Hold the header's counts against the size of the file, before anything is allocated by them."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(375).ljust(375, b"\0")
    if head[:4] != b"LASF":
        raise UserError(f"{path}: cannot be read (it does not start with LASF); it is no {path.suffix} file")
    begin, records = struct.unpack_from("<II", head, 96)
    point_format, width, points = struct.unpack_from("<BHI", head, 104)
    if head[25] >= 4:
        points = struct.unpack_from("<Q", head, 247)[0] or points
    bound = max(size * _RATIO, _SPARE) if point_format & 0xC0 else size - begin
    if points * width > bound or records * 54 > size or begin > size:
        raise UserError(
            f"{path}: cannot be read ({size} bytes, but the header tells of {points} points of {width} bytes and "
            f"{records} records); the file is cut short or damaged"
        )
