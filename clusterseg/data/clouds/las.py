"""Read .las and .laz survey files with the optional package laspy."""

from __future__ import annotations

import importlib.util
import struct
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from clusterseg.data.clouds.cloud import Cloud
from clusterseg.data.clouds.unlaz import unlaz
from clusterseg.errors import UserError

_RATIO = 300  # maximum compression ratio; a header that implies more is wrong
_SPARE = 64 << 20  # bytes of points that are accepted from any file


def read_las(path: Path) -> Cloud:
    """Read a .las or .laz file.

    Raises:
        UserError: Laspy is not installed, or the file is damaged.
    """
    if importlib.util.find_spec("laspy") is None:
        raise UserError(f"{path}: reading {path.suffix} needs laspy; pip install 'clusterseg[las]'")
    packed = _check_sizes(path)
    if packed is None:
        return _read(path, path)
    with tempfile.TemporaryDirectory(prefix="clusterseg_") as folder:
        unpacked = Path(folder) / "points.las"
        unlaz(path, unpacked, packed)
        return _read(unpacked, path)


def _read(path: Path, source: Path) -> Cloud:
    import laspy

    try:
        # Extended records are not needed, and nothing but the header confirms their sizes.
        with laspy.open(path, read_evlrs=False) as reader:
            las = laspy.LasData(reader.header, reader.read_points(-1))
        xyz = np.asarray(las.xyz, np.float64)
        intensity = np.asarray(las.intensity)
        fields = {name: np.asarray(las[name]) for name in las.point_format.dimension_names}
    except Exception as error:  # laspy raises many types, all of them about the file
        reason = f"cannot be read ({error}); the file is damaged or no {source.suffix} file"
        raise UserError(f"{source}: {reason}") from None
    own = ("x", "y", "z", "intensity")
    others = {name.lower(): v for name, v in fields.items() if v.ndim == 1 and name.lower() not in own}
    return Cloud(xyz, intensity.astype(np.float64), others, intensity.dtype)


def _check_sizes(path: Path) -> int | None:
    """Check the header's counts against the size of the file before memory is allocated.

    Returns:
        Bytes of the uncompressed points if they are compressed, else None.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(375).ljust(375, b"\0")
        if head[:4] != b"LASF":
            raise UserError(f"{path}: cannot be read (it does not start with LASF); it is no {path.suffix} file")
        begin, records = struct.unpack_from("<II", head, 96)
        point_format, width, points = struct.unpack_from("<BHI", head, 104)
        if head[25] >= 4:
            points = struct.unpack_from("<Q", head, 247)[0] or points
        compressed = bool(point_format & 0xC0)
        chunks = _chunks(file, begin, size) if compressed else 0
    bound = max(size * _RATIO, _SPARE) if compressed else size - begin
    if points * width > bound or records * 54 > size or begin > size or chunks > size:
        raise UserError(
            f"{path}: cannot be read ({size} bytes, but the header declares {points} points of {width} bytes, "
            f"{records} records and {chunks} chunks); the file is cut short or damaged"
        )
    return points * width if compressed else None


def _chunks(file: BinaryIO, begin: int, size: int) -> int:
    """Number of chunks in the chunk table of a compressed file; 0 if there is no table."""
    file.seek(begin)
    at = int.from_bytes(file.read(8), "little", signed=True)
    if at == -1:  # written as a stream: the position of the table is at the end of the file
        file.seek(max(size - 8, 0))
        at = int.from_bytes(file.read(8), "little", signed=True)
    if not 0 <= at <= size:
        return 0
    file.seek(at + 4)
    return int.from_bytes(file.read(4), "little")
