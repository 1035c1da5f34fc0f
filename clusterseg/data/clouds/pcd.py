"""The Point Cloud Library's .pcd files, version 0.7 and before: ascii, binary and binary_compressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clusterseg.data.clouds.cloud import Cloud, from_fields
from clusterseg.data.clouds.lzf import decompress
from clusterseg.data.clouds.numbers import parse_numbers
from clusterseg.data.clouds.pcd_header import PcdHeader, read_header
from clusterseg.data.scan import naming
from clusterseg.errors import UserError


def read_pcd(path: Path) -> Cloud:
    """Read a .pcd file.

    Raises:
        UserError: It is no .pcd file, or truncated.
    """
    content = path.read_bytes()
    with naming(path):
        header, at = read_header(content)
        fields = _decode(content[at:], header)
        return from_fields({name: field for name, field in fields if name != "_"})


def _decode(body: bytes, header: PcdHeader) -> list[tuple[str, np.ndarray]]:
    """Return the fields with data, in order; the first number of each."""
    if header.data == "ascii":
        columns = _ascii(body, header)
    elif header.data == "binary":
        columns = _rows(body, header)
    elif header.data == "binary_compressed":
        columns = _columns(body, header)
    else:
        raise UserError(f"DATA {header.data} is not known; expected ascii, binary or binary_compressed")
    named = zip(header.names, columns, strict=True)
    return [(name, column[:, 0]) for name, column in named if column.shape[1]]


def _rows(body: bytes, header: PcdHeader) -> list[np.ndarray]:
    width, points = header.point_bytes, header.points
    if len(body) < points * width:
        raise UserError(f"is cut short: {len(body)} bytes of points, expected {points * width}")
    if not points * width:
        return [np.empty((0, count), kind) for kind, count in zip(header.kinds, header.counts, strict=True)]
    columns, at = [], 0
    for kind, count in zip(header.kinds, header.counts, strict=True):
        columns.append(np.ndarray((points, count), kind, body, at if count else 0, (width, kind.itemsize)))
        at += kind.itemsize * count
    return columns


def _columns(body: bytes, header: PcdHeader) -> list[np.ndarray]:
    """Split a compressed body, which stores field after field."""
    total = header.points * header.point_bytes
    whole = decompress(body, total) if total else b""
    columns, at = [], 0
    for kind, count in zip(header.kinds, header.counts, strict=True):
        points = header.points if total else 0
        columns.append(np.frombuffer(whole, kind, points * count, at if count and total else 0).reshape(points, count))
        at += points * count * kind.itemsize
    return columns


def _ascii(body: bytes, header: PcdHeader) -> list[np.ndarray]:
    width = sum(header.counts)
    if header.points * width > len(body):  # a number takes two bytes, the last one maybe one
        raise UserError(f"is cut short: {len(body)} bytes, expected {header.points} points of {width} numbers")
    values, rest = parse_numbers(body)
    if rest:
        raise UserError(f"what comes after {len(values)} numbers among the points is no number: {rest!r}")
    if len(values) != header.points * width:
        raise UserError(f"has {len(values)} values, expected {header.points} points of {width}; the file is cut short")
    rows = values.reshape(header.points if width else 0, width)
    return np.split(rows, np.cumsum(header.counts)[:-1], axis=1)
