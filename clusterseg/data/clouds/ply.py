"""Read and write Stanford .ply files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from clusterseg.data.clouds.cloud import Cloud, from_fields
from clusterseg.data.clouds.ply_body import read_vertices
from clusterseg.data.clouds.ply_header import TYPES, read_header
from clusterseg.data.scan import naming


def read_ply(path: Path) -> Cloud:
    """Read the vertices of a .ply file: ascii, or binary of either byte order.

    Raises:
        UserError: It is no .ply file, or truncated.
    """
    content = path.read_bytes()
    with naming(path):
        header, at = read_header(content)
        return from_fields(read_vertices(content[at:], header))


def ply_bytes(xyz: Float[np.ndarray, "points 3"], colours: UInt8[np.ndarray, "points 3"]) -> bytes:
    """Encode coloured points as a binary .ply file; coordinates in double precision for map coordinates."""
    names = ("x", "y", "z", "red", "green", "blue")
    kinds = ("double",) * 3 + ("uchar",) * 3
    rows = np.empty(len(xyz), [(name, f"<{TYPES[kind]}") for name, kind in zip(names, kinds, strict=True)])
    for i, axis in enumerate(names[:3]):
        rows[axis] = xyz[:, i]
    for i, channel in enumerate(names[3:]):
        rows[channel] = colours[:, i]
    properties = "".join(f"property {kind} {name}\n" for name, kind in zip(names, kinds, strict=True))
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(xyz)}\n{properties}end_header\n"
    return header.encode() + rows.tobytes()
