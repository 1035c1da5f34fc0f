"""Read a point cloud by its file extension."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from clusterseg.data.clouds import bag
from clusterseg.data.clouds.cloud import Cloud
from clusterseg.data.clouds.las import read_las
from clusterseg.data.clouds.layout import Layout
from clusterseg.data.clouds.pcd import read_pcd
from clusterseg.data.clouds.ply import read_ply
from clusterseg.data.clouds.raw import read_bin, read_npy
from clusterseg.errors import UserError


def read_cloud(path: Path, layout: Layout | None = None) -> Cloud:
    """Read .bin, .npy, .pcd, .ply, .las, .laz, or a message of a recording.

    Args:
        path: The file, or the path of a message (see `bag.list_messages`).
        layout: The columns of .bin and .npy files and the topic of recordings; None takes x, y, z, remission as
            float32, and the only topic.

    Raises:
        UserError: The file is of another kind, missing, damaged, or has no points.
    """
    reader = _reader(path)
    try:
        with np.errstate(all="ignore"):  # extreme values stay unchanged
            cloud = reader(path, layout or Layout())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its permissions and the disk") from None
    except MemoryError:
        raise UserError(f"{path}: is too large for the memory; cut it into tiles") from None
    if not len(cloud.xyz):
        raise UserError(f"{path}: holds no point; remove it")
    return cloud


def _reader(path: Path) -> Callable[[Path, Layout], Cloud]:
    """Return the reader of a path, which must exist."""
    if bag.is_message(path):
        return lambda path, layout: bag.read_message(path, layout.topic)
    if bag.is_recording(path):
        return lambda path, layout: bag.refuse(path, layout.topic)
    if path.suffix.lower() not in _READERS:
        raise UserError(
            f"{path}: cannot read {path.suffix or 'files without an ending'}; expected one of {', '.join(SUFFIXES)}; "
            "write other formats as .npy, float32, with columns=[...]"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such file; check input")
    return _read_file


def _read_file(path: Path, layout: Layout) -> Cloud:
    _refuse_stand_ins(path)
    return _READERS[path.suffix.lower()](path, layout)


def _refuse_stand_ins(path: Path) -> None:
    """Refuse files that have the extension of a point cloud but are none."""
    with open(path, "rb") as file:
        start = file.read(24)
    for magic, name, remedy in _STAND_INS:
        if start.startswith(magic):
            raise UserError(f"{path}: is {name}, no point cloud; {remedy}")


_STAND_INS = (
    (b"\0\5\x16\7", "a file of macOS beside another one", "remove it"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself by git lfs pull"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it by gunzip"),
)
_READERS: dict[str, Callable[[Path, Layout], Cloud]] = {
    ".bin": read_bin,
    ".npy": read_npy,
    ".pcd": lambda path, _: read_pcd(path),
    ".ply": lambda path, _: read_ply(path),
    ".las": lambda path, _: read_las(path),
    ".laz": lambda path, _: read_las(path),
}
SUFFIXES = tuple(_READERS)
