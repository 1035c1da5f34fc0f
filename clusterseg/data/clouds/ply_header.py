"""The header of a .ply file: its elements, their properties, and the byte order."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from clusterseg.errors import UserError

TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": ""}
_LONGEST = 10_000  # maximum bytes of a line, and maximum lines of a header


@dataclass(frozen=True)
class Property:
    """A scalar or list property of an element.

    Attributes:
        name: Its name.
        kind: Data type.
        length: Data type of a list's length, or None for a scalar.
    """

    name: str
    kind: np.dtype
    length: np.dtype | None = None


@dataclass(frozen=True)
class Element:
    """An element of the file, such as vertices or faces."""

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)

    @property
    def has_lists(self) -> bool:
        """Whether items may differ in size."""
        return any(entry.length is not None for entry in self.properties)


@dataclass(frozen=True)
class PlyHeader:
    """The content of the header; `order` is `<`, `>`, or empty for text."""

    order: str
    elements: tuple[Element, ...]


def read_header(content: bytes) -> tuple[PlyHeader, int]:
    """Read the header of a file; also return the position of the body.

    Raises:
        UserError: The header is missing or malformed.
    """
    lines, at = _lines(content)
    order: str | None = None
    elements: list[Element] = []
    for words in filter(None, (line.split() for line in lines)):
        if words[0] == "format":
            order = _ORDERS.get(words[1] if len(words) > 1 else "")
            if order is None:
                raise UserError(f"the header says {' '.join(words)!r}; expected format {', '.join(_ORDERS)}")
        elif words[0] == "element":
            elements.append(_element(words))
        elif words[0] == "property":
            if not elements:
                raise UserError(f"the header says {' '.join(words)!r} before any element; expected element vertex N")
            elements[-1].properties.append(_property(words, order or "<"))
        elif words[0] not in ("comment", "obj_info", "ply"):
            raise UserError(f"the header says {' '.join(words)[:60]!r}; expected format, element, property or comment")
    if order is None or not any(element.name == "vertex" for element in elements):
        raise UserError("the header has no known format or no vertices; expected format and element vertex N")
    return PlyHeader(order, tuple(elements)), at


def _lines(content: bytes) -> tuple[list[str], int]:
    """Yield the lines between `ply` and `end_header`; they end with LF, CR LF or CR."""
    if not content.startswith(b"ply") or content[3:4] not in (b"\n", b"\r", b" ", b"\t"):
        raise UserError("is no .ply file: it must start with ply and have an end_header")
    newline = b"\r" if content[3:4] == b"\r" and content[4:5] != b"\n" else b"\n"
    lines: list[str] = []
    at = 0
    while len(lines) < _LONGEST:
        end = content.find(newline, at, at + _LONGEST)
        if end < 0 and content[at : at + _LONGEST].strip() == b"end_header":  # no line break at the end
            return lines, len(content)
        if end < 0:
            break
        line = content[at:end].decode("ascii", "replace").strip()
        at = end + 1
        if line == "end_header":
            return lines, at
        lines.append(line)
    raise UserError("is no .ply file: it must start with ply and have an end_header")


def _element(words: list[str]) -> Element:
    if len(words) != 3 or not (words[2].isascii() and words[2].isdigit() and len(words[2]) < 16):
        raise UserError(f"the header says {' '.join(words)[:60]!r}; expected element, a name and a whole number")
    return Element(words[1].lower(), int(words[2]))


def _property(words: list[str], order: str) -> Property:
    kinds = words[2:4] if words[1:2] == ["list"] else words[1:2]
    if len(words) != len(kinds) + (3 if words[1:2] == ["list"] else 2) or any(kind not in TYPES for kind in kinds):
        raise UserError(
            f"the header says {' '.join(words)[:60]!r}; expected property TYPE NAME, or property list TYPE TYPE NAME, "
            f"with one of the types {', '.join(TYPES)}"
        )
    dtypes = [np.dtype(order + TYPES[kind]) for kind in kinds]
    if len(dtypes) == 1:
        return Property(words[-1], dtypes[0])
    if dtypes[0].kind == "f":
        raise UserError(f"the header says {' '.join(words)[:60]!r}; expected a whole-number type for a list's length")
    return Property(words[-1], dtypes[1], dtypes[0])
