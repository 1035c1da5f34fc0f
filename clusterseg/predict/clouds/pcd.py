"""The Point Cloud Library's .pcd files, version 0.7: ascii, binary and binary_compressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clusterseg.data.scan import naming
from clusterseg.errors import UserError
from clusterseg.predict.clouds.cloud import Cloud, from_fields

_KINDS = {"F": "f", "I": "i", "U": "u"}


def read_pcd(path: Path) -> Cloud:
    """Read a .pcd file.

    Raises:
        UserError: It is none, or cut short.
    """
    content = path.read_bytes()
    with naming(path):
        header, body = _header(content)
        names, counts = header["FIELDS"], header.get("COUNT", ["1"] * len(header["FIELDS"]))
        try:
            points = int(header["POINTS"][0])
            columns = list(zip(names, header["SIZE"], header["TYPE"], map(int, counts), strict=True))
            dtypes = [(f"{i}", f"<{_KINDS[kind]}{size}", (n,)) for i, (_, size, kind, n) in enumerate(columns)]
            dtype = np.dtype(dtypes)
        except (KeyError, ValueError, TypeError, IndexError):
            raise UserError("the header is malformed; expected FIELDS, SIZE, TYPE, COUNT, POINTS, DATA") from None
        fields = _decode(body, header["DATA"][0], dtype, points)
        return from_fields({name: fields[i][:, 0] for i, name in enumerate(names)})


def _header(content: bytes) -> tuple[dict[str, list[str]], bytes]:
    header: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in header:
        end = content.find(b"\n", at)
        if end < 0 or end - at > 10_000:
            raise UserError(
                "is no .pcd file: a header that ends with DATA ascii, binary or binary_compressed is missing"
            )
        words = content[at:end].decode("ascii", "replace").split()
        if words and not words[0].startswith("#"):
            header[words[0]] = words[1:]
        at = end + 1
    if "FIELDS" not in header or not header["DATA"]:
        raise UserError("the header has no FIELDS; expected FIELDS x y z intensity")
    return header, content[at:]


def _decode(body: bytes, kind: str, dtype: np.dtype, points: int) -> list[np.ndarray]:
    """The fields as (points, count) arrays."""
    if kind == "ascii":
        return _decode_ascii(body, dtype, points)
    if kind == "binary_compressed":
        return _decode_columns(decompress(body), dtype, points)
    if kind != "binary":
        raise UserError(f"DATA {kind} is not known; expected ascii, binary or binary_compressed")
    if len(body) < points * dtype.itemsize:
        raise UserError(f"is cut short: {len(body)} bytes of points, expected {points * dtype.itemsize}")
    rows = np.frombuffer(body, dtype, points)
    return [rows[name] for name in dtype.names or ()]


def _decode_ascii(body: bytes, dtype: np.dtype, points: int) -> list[np.ndarray]:
    widths = [dtype[i].shape[0] for i in range(len(dtype.names or ()))]
    try:
        values = np.array(body.split(), np.float64)
    except ValueError:
        raise UserError("a value among the points is no number") from None
    if len(values) != points * sum(widths):
        raise UserError(f"has {len(values)} values, expected {points} points of {sum(widths)}; the file is cut short")
    return np.split(values.reshape(points, -1), np.cumsum(widths)[:-1], axis=1)


def _decode_columns(body: bytes, dtype: np.dtype, points: int) -> list[np.ndarray]:
    """A compressed body holds field after field."""
    if len(body) != points * dtype.itemsize:
        raise UserError(f"holds {len(body)} bytes of points, expected {points * dtype.itemsize}; the file is damaged")
    fields, at = [], 0
    for i in range(len(dtype.names or ())):
        base, shape = dtype[i].base, dtype[i].shape
        fields.append(np.frombuffer(body, base, points * shape[0], at).reshape(points, *shape))
        at += points * dtype[i].itemsize
    return fields


def decompress(body: bytes) -> bytes:
    """Decompress LZF (Marc Lehmann's liblzf, format 1) after its two sizes as uint32.

    Raises:
        UserError: The data are cut short or damaged.
    """
    sizes = np.frombuffer(body[:8].ljust(8, b"\0"), "<u4")
    packed, size = body[8 : 8 + int(sizes[0])], int(sizes[1])
    out = bytearray()
    try:
        if len(packed) != int(sizes[0]):
            raise IndexError
        _expand(packed, out)
    except IndexError:
        raise UserError("the compressed points are cut short or damaged") from None
    if len(out) != size:
        raise UserError(f"decompresses to {len(out)} bytes, expected {size}; the file is damaged")
    return bytes(out)


def _expand(packed: bytes, out: bytearray) -> None:
    at = 0
    while at < len(packed):
        control = packed[at]
        at += 1
        if control < 32:  # literals
            out += packed[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += packed[at]
            at += 1
        start = len(out) - ((control & 31) << 8) - packed[at] - 1
        at += 1
        if start < 0:
            raise IndexError
        length += 2
        piece = out[start : start + length]
        while len(piece) < length:  # the copy overlaps what it writes
            piece += piece[: length - len(piece)]
        out += piece
