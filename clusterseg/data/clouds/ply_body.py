"""The vertices in the body of a .ply file."""

from __future__ import annotations

import numpy as np

from clusterseg.data.clouds.numbers import parse_numbers
from clusterseg.data.clouds.ply_header import Element, PlyHeader
from clusterseg.errors import UserError


def read_vertices(body: bytes, header: PlyHeader) -> dict[str, np.ndarray]:
    """Read the scalar properties of each vertex, by name; lists are skipped.

    Raises:
        UserError: The body is truncated, or a list has a negative length.
    """
    reader = _BinaryBody(body) if header.order else _TextBody(body)
    for element in header.elements:
        if element.name == "vertex":
            return reader.read(element)
        reader.read(element)
    raise AssertionError("the header has vertices")


class _Body:
    """Reads element after element; subclasses locate the numbers of an item."""

    def __init__(self, values: bytes | np.ndarray) -> None:
        self.values = values
        self.at = 0

    def read(self, element: Element) -> dict[str, np.ndarray]:
        """Read an element's scalar properties and advance to the next element."""
        if not element.properties or not element.count:
            return {entry.name: np.empty(0, entry.kind) for entry in element.properties if entry.length is None}
        smallest = sum(self.size(entry.length or entry.kind) for entry in element.properties)
        if element.count * smallest > len(self.values) - self.at:
            raise UserError(
                f"is cut short: {max(len(self.values) - self.at, 0)} {self.unit} for {element.count} items of "
                f"{element.name}, expected at least {element.count * smallest}"
            )
        starts = self._starts(element)
        return {
            entry.name: self.take(starts[i], entry.kind)
            for i, entry in enumerate(element.properties)
            if entry.length is None
        }

    def _starts(self, element: Element) -> list[np.ndarray]:
        """Start of each property of each item, (properties, items)."""
        widths = self._first_widths(element)
        starts = self.at + np.cumsum([0, *widths])[:, None] + sum(widths) * np.arange(element.count)
        if self._are_alike(element, widths, starts):
            self.at += sum(widths) * element.count
            return list(starts[:-1])
        return self._walk(element)

    def _first_widths(self, element: Element) -> list[int]:
        at, widths = self.at, []
        for entry in element.properties:
            width = self.size(entry.kind)
            if entry.length is not None:
                width = self.size(entry.length) + width * self._length(at, entry.length)
            widths.append(width)
            at += width
        return widths

    def _are_alike(self, element: Element, widths: list[int], starts: np.ndarray) -> bool:
        """Whether every item's lists are as long as the first one's, which is the usual case."""
        if self.at + sum(widths) * element.count > len(self.values):
            return False
        for start, width, entry in zip(starts, widths, element.properties, strict=False):
            if entry.length is not None:
                lengths = self.take(start, entry.length)
                if not (lengths * self.size(entry.kind) + self.size(entry.length) == width).all():
                    return False
        return True

    def _walk(self, element: Element) -> list[np.ndarray]:
        """Step through the items; each takes at least one byte, so the file's size bounds the time."""
        starts = np.empty((len(element.properties), element.count), np.int64)
        at = self.at
        for item in range(element.count):
            for i, entry in enumerate(element.properties):
                starts[i, item] = at
                at += self.size(entry.kind) * (1 if entry.length is None else self._length(at, entry.length))
                at += 0 if entry.length is None else self.size(entry.length)
            if at > len(self.values):
                raise UserError(f"is cut short: it ends within item {item} of {element.count} of {element.name}")
        self.at = at
        return list(starts)

    def _length(self, at: int, kind: np.dtype) -> int:
        if at + self.size(kind) > len(self.values):
            raise UserError("is cut short: it ends within a list")
        value = float(self.take(np.array([at]), kind)[0])
        if not (0 <= value <= len(self.values) and value.is_integer()):
            raise UserError(f"a list has the length {value:g}; expected a whole number of 0 or more that fits the file")
        return int(value)

    unit = "bytes"

    def size(self, kind: np.dtype) -> int:
        """Number of positions that a number takes."""
        return kind.itemsize

    def take(self, starts: np.ndarray, kind: np.dtype) -> np.ndarray:
        """Return the numbers at some positions."""
        raise NotImplementedError


class _BinaryBody(_Body):
    def take(self, starts: np.ndarray, kind: np.dtype) -> np.ndarray:
        """Return numbers of a type at some byte positions."""
        step = int(starts[1] - starts[0]) if len(starts) > 1 else kind.itemsize
        if (np.diff(starts) == step).all():
            return np.ndarray((len(starts),), kind, self.values, int(starts[0]), (step,))
        raw = np.frombuffer(self.values, np.uint8)
        return np.ascontiguousarray(raw[starts[:, None] + np.arange(kind.itemsize)]).view(kind)[:, 0]


class _TextBody(_Body):
    unit = "numbers"

    def __init__(self, text: bytes) -> None:
        super().__init__(
            parse_numbers(text)[0]
        )  # parsing stops at the first invalid word, which may follow the vertices

    def size(self, kind: np.dtype) -> int:
        """A number takes one position."""
        return 1

    def take(self, starts: np.ndarray, kind: np.dtype) -> np.ndarray:
        """Return numbers of any type at some positions."""
        values: np.ndarray = np.asarray(self.values)[starts]
        return values
