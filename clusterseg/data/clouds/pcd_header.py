"""The header of a .pcd file: its fields and its number of points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clusterseg.errors import UserError

_KINDS = {"F": "f", "I": "i", "U": "u"}
_SIZES = {"F": ("2", "4", "8"), "I": ("1", "2", "4", "8"), "U": ("1", "2", "4", "8")}
_LONGEST = 10_000  # maximum bytes of a line, and maximum lines of a header


@dataclass(frozen=True)
class PcdHeader:
    """The content of the header.

    Attributes:
        names: Names of the fields; `_` is padding and may come more than once.
        kinds: Data type of each field.
        counts: Numbers per point in each field; may be 0.
        points: Number of points.
        data: `ascii`, `binary` or `binary_compressed`.
    """

    names: tuple[str, ...]
    kinds: tuple[np.dtype, ...]
    counts: tuple[int, ...]
    points: int
    data: str

    @property
    def point_bytes(self) -> int:
        """Size of a point in bytes."""
        return sum(kind.itemsize * count for kind, count in zip(self.kinds, self.counts, strict=True))


def read_header(content: bytes) -> tuple[PcdHeader, int]:
    """Read the header of a file; also return the position of the first point.

    Raises:
        UserError: The header is missing or malformed.
    """
    entries, at = _entries(content)
    names = entries.get("FIELDS", entries.get("COLUMNS", []))  # COLUMNS: version 0.5
    if not names or not entries["DATA"]:
        raise UserError("the header has no FIELDS; expected FIELDS x y z intensity")
    sizes, types = entries.get("SIZE", []), entries.get("TYPE", [])
    counts = entries.get("COUNT", ["1"] * len(names))
    if not len(names) == len(sizes) == len(types) == len(counts):
        raise UserError(
            f"the header is malformed: {len(names)} FIELDS, {len(sizes)} SIZE, {len(types)} TYPE, {len(counts)} COUNT; "
            "expected as many of each"
        )
    kinds = tuple(_kind(size, kind) for size, kind in zip(sizes, types, strict=True))
    numbers = tuple(_number("COUNT", count) for count in counts)
    return PcdHeader(tuple(names), kinds, numbers, _points(entries), entries["DATA"][0].lower()), at


def _entries(content: bytes) -> tuple[dict[str, list[str]], int]:
    entries: dict[str, list[str]] = {}
    at = 0
    for _ in range(_LONGEST):
        end = content.find(b"\n", at, at + _LONGEST)
        if end < 0:
            break
        words = content[at:end].decode("ascii", "replace").split()
        at = end + 1
        if words and not words[0].startswith("#"):
            entries[words[0].upper()] = words[1:]
            if words[0].upper() == "DATA":
                return entries, at
    raise UserError("is no .pcd file: a header that ends with DATA ascii, binary or binary_compressed is missing")


def _points(entries: dict[str, list[str]]) -> int:
    if "POINTS" in entries:
        return _number("POINTS", *entries["POINTS"][:1])
    if "WIDTH" not in entries:
        raise UserError("the header is malformed: it has neither POINTS nor WIDTH; expected POINTS and a number")
    return _number("WIDTH", *entries["WIDTH"][:1]) * _number("HEIGHT", *entries.get("HEIGHT", ["1"])[:1])


def _kind(size: str, kind: str) -> np.dtype:
    if size not in _SIZES.get(kind.upper(), ()):
        raise UserError(f"the header is malformed: SIZE {size} with TYPE {kind} is no number type")
    return np.dtype(f"<{_KINDS[kind.upper()]}{size}")


def _number(key: str, word: str = "") -> int:
    if not (word.isascii() and word.isdigit() and len(word) < 16):
        raise UserError(f"the header is malformed: {key} {word or 'without a value'}; expected a whole number")
    return int(word)
