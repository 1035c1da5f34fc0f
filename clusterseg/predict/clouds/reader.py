"""Reads a point cloud by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from clusterseg.data.scan import naming, read_scan
from clusterseg.errors import UserError
from clusterseg.predict.clouds.cloud import Cloud, from_fields
from clusterseg.predict.clouds.las import read_las
from clusterseg.predict.clouds.pcd import read_pcd
from clusterseg.predict.clouds.ply import read_ply


def read_cloud(path: Path) -> Cloud:
    """Read .bin (x, y, z, remission as float32), .npy, .pcd, .ply, .las or .laz.

    Raises:
        UserError: The file is of another kind, missing, damaged, or has no points.
    """
    if path.suffix.lower() not in _READERS:
        raise UserError(f"{path}: cannot read {path.suffix or 'files without an ending'}; expected one of {SUFFIXES}")
    if not path.is_file():
        raise UserError(f"{path}: no such file; check input")
    cloud = _READERS[path.suffix.lower()](path)
    if not len(cloud.xyz):
        raise UserError(f"{path}: holds no point; remove it")
    return cloud


def _read_bin(path: Path) -> Cloud:
    points = read_scan(path).astype(np.float64)
    return Cloud(points[:, :3], points[:, 3])


def _read_npy(path: Path) -> Cloud:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: is no plain numpy array ({error}); save it by np.save(path, array)") from None
    if array.dtype.names:
        with naming(path):
            return from_fields({name: array[name].ravel() for name in array.dtype.names})
    if array.ndim != 2 or array.shape[1] < 3 or array.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: an array {array.shape} of {array.dtype}; expected (points, 4): x, y, z, remission, "
            "or (points, 3) without remission"
        )
    values = array.astype(np.float64)
    return Cloud(values[:, :3], values[:, 3] if values.shape[1] > 3 else None)


_READERS: dict[str, Callable[[Path], Cloud]] = {
    ".bin": _read_bin,
    ".npy": _read_npy,
    ".pcd": read_pcd,
    ".ply": read_ply,
    ".las": read_las,
    ".laz": read_las,
}
SUFFIXES = tuple(_READERS)
