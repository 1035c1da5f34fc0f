"""Stanford's .ply files: reading points, writing coloured ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from clusterseg.data.scan import naming
from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.predict.clouds.cloud import Cloud, from_fields

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}


def read_ply(path: Path) -> Cloud:
    """Read the vertices of a .ply file: ascii, or binary of either byte order.

    Raises:
        UserError: It is none, cut short, or its vertices do not come first or hold lists.
    """
    content = path.read_bytes()
    with naming(path):
        end = content.find(b"end_header")
        if not content.startswith(b"ply") or end < 0:
            raise UserError("is no .ply file: it must start with ply and have an end_header")
        order, points, properties = _header(content[:end].decode("ascii", "replace").splitlines())
        body = content[content.index(b"\n", end) + 1 :]
        dtype = np.dtype([(name, order.replace("=", "<") + kind) for name, kind in properties])
        rows = _ascii_rows(body, dtype, points) if order == "=" else _binary_rows(body, dtype, points)
        return from_fields({name: rows[name] for name in dtype.names or ()})


def _header(lines: list[str]) -> tuple[str, int, list[tuple[str, str]]]:
    """Byte order, number of vertices, and the properties of a vertex."""
    order, points, element = "", -1, ""
    properties: list[tuple[str, str]] = []
    for words in filter(None, (line.split() for line in lines)):
        if words[0] == "format":
            order = _ORDERS.get(words[1], "")
        elif words[0] == "element":
            element = words[1]
            if element == "vertex":
                points = int(words[2])
            elif points < 0:
                raise UserError(f"the element {element} comes before the vertices; write the vertices first")
        elif words[0] == "property" and element == "vertex":
            if words[1] not in _TYPES:
                raise UserError(f"the vertices have a property of type {words[1]}; expected numbers only")
            properties.append((words[2], _TYPES[words[1]]))
    if not order or points < 0:
        raise UserError("the header has no known format or no vertices")
    return order, points, properties


def _binary_rows(body: bytes, dtype: np.dtype, points: int) -> np.ndarray:
    if len(body) < points * dtype.itemsize:
        raise UserError(f"is cut short: {len(body)} bytes of vertices, expected {points * dtype.itemsize}")
    return np.frombuffer(body, dtype, points)


def _ascii_rows(body: bytes, dtype: np.dtype, points: int) -> np.ndarray:
    lines = body.splitlines()[:points]
    try:
        rows = np.array([tuple(map(float, line.split())) for line in lines], dtype)
    except ValueError:
        raise UserError(f"a vertex does not have {len(dtype.names or ())} numbers") from None
    if len(rows) != points:
        raise UserError(f"is cut short: {len(rows)} vertices, expected {points}")
    return rows


def write_ply(path: Path, xyz: Float[np.ndarray, "points 3"], colours: UInt8[np.ndarray, "points 3"]) -> None:
    """Write coloured points as binary .ply, whole or not at all; coordinates in double, as map coordinates need.

    Raises:
        UserError: The file cannot be written.
    """
    names = ("x", "y", "z", "red", "green", "blue")
    kinds = ("double",) * 3 + ("uchar",) * 3
    rows = np.empty(len(xyz), [(name, f"<{_TYPES[kind]}") for name, kind in zip(names, kinds, strict=True)])
    for i, axis in enumerate(names[:3]):
        rows[axis] = xyz[:, i]
    for i, channel in enumerate(names[3:]):
        rows[channel] = colours[:, i]
    properties = "".join(f"property {kind} {name}\n" for name, kind in zip(names, kinds, strict=True))
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(xyz)}\n{properties}end_header\n"
    write_file(path, header.encode() + rows.tobytes())
