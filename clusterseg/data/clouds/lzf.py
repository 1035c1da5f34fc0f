"""LZF decompression for .pcd files (Marc Lehmann's liblzf, format 1)."""

from __future__ import annotations

import numpy as np

from clusterseg.errors import UserError


def decompress(body: bytes, limit: int | None = None) -> bytes:
    """Decompress a body that starts with its compressed and uncompressed sizes as uint32.

    Args:
        body: The sizes and the compressed bytes.
        limit: Expected number of bytes; None takes the declared size.

    Raises:
        UserError: The data are truncated or damaged, or have another size.
    """
    sizes = np.frombuffer(body[:8].ljust(8, b"\0"), "<u4")
    packed, size = body[8 : 8 + int(sizes[0])], int(sizes[1])
    if limit is not None and size != limit:
        raise UserError(f"the compressed points declare {size} bytes, expected {limit}; the file is damaged")
    try:
        if len(packed) != int(sizes[0]):
            raise IndexError
        out = _expand(packed, size)
    except IndexError:
        raise UserError("the compressed points are cut short or damaged") from None
    if len(out) != size:
        raise UserError(f"decompresses to {len(out)} bytes, expected {size}; the file is damaged")
    return bytes(out)


def _expand(packed: bytes, size: int) -> bytearray:
    """Expand the data; raise IndexError if a step reads out of bounds or writes more than `size` bytes."""
    out = bytearray()
    at = 0
    while at < len(packed):
        control = packed[at]
        at += 1
        if control < 32:  # literals
            out += packed[at : at + control + 1]
            at += control + 1
        else:
            length = control >> 5
            if length == 7:
                length += packed[at]
                at += 1
            start = len(out) - ((control & 31) << 8) - packed[at] - 1
            at += 1
            if start < 0:
                raise IndexError
            _repeat(out, start, length + 2)
        if len(out) > size:
            raise IndexError
    return out


def _repeat(out: bytearray, start: int, length: int) -> None:
    piece = out[start : start + length]
    while len(piece) < length:  # source and target of the copy overlap
        piece += piece[: length - len(piece)]
    out += piece
