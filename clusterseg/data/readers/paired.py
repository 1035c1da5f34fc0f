"""A reader of scans that lie in a file of fixed-size records each, with the labels in another file."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Integer

from clusterseg.data.reader import Reader, Scan
from clusterseg.data.readers.records import count_records, require_same
from clusterseg.errors import UserError


@dataclass(frozen=True)
class Pair:
    """The files of a scan.

    Attributes:
        scan_id: The scan.
        scan: The file of its points.
        label: The file of its labels, existing or not; None if the data set has none for this scan.
    """

    scan_id: str
    scan: Path
    label: Path | None


class PairedReader(Reader):
    """Lists pairs of files and checks their sizes before anything is read.

    Args:
        root: The folder of the data set.
    """

    #: Bytes of a point.
    point_bytes: ClassVar[int] = 16
    #: Bytes of a label.
    label_bytes: ClassVar[int] = 4
    #: Where missing labels come from, for the message.
    labels_from: ClassVar[str] = "download the labels, or remove the scan"

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser()
        self._pairs: dict[str, Pair] = {}

    @abstractmethod
    def pairs(self, split: str) -> Iterable[Pair]:
        """List the files of a split, in order.

        Raises:
            UserError: The data set is defective.
        """

    @abstractmethod
    def read_points(self, path: Path) -> Float32[np.ndarray, "points channels"]:
        """Read a file of points."""

    @abstractmethod
    def read_labels(self, path: Path) -> Integer[np.ndarray, " points"]:
        """Read a file of labels."""

    def scans(self, split: str) -> Sequence[str]:
        """List the scans of a split, after checking the size of each file. Scans of train and val need labels.

        Raises:
            UserError: A file is missing or has an impossible size, or labels and points differ in number.
        """
        require_folder(self.root)
        listed = {p.scan_id: self._checked(p, split in ("train", "val")) for p in self.pairs(split)}
        self._pairs |= listed
        return list(listed)

    def unchecked(self, split: str) -> Sequence[str]:
        """List the scans of a split without a look at sizes and missing labels.

        Raises:
            UserError: The root is missing, or `pairs` refuses the data set.
        """
        require_folder(self.root)
        found = {p.scan_id: p if p.label and p.label.is_file() else replace(p, label=None) for p in self.pairs(split)}
        self._pairs |= found
        return list(found)

    def read(self, scan_id: str) -> Scan:
        """Read a scan listed by `scans`."""
        pair = self._pairs[scan_id]
        points = self.read_points(pair.scan)
        if pair.label is None:
            return Scan(points)
        labels = self.read_labels(pair.label)
        require_same(pair.label, len(labels), pair.scan, len(points))
        return Scan(points, labels)

    def source(self, scan_id: str, what: str = "points") -> str:
        """Return the path of the file of the points or the labels."""
        pair = self._pairs[scan_id]
        return str(pair.label if what == "labels" else pair.scan)

    def width_of(self, label: Path) -> int | None:
        """Return the bytes of a label in a file; None if its size does not tell their number."""
        return self.label_bytes

    def _checked(self, pair: Pair, labels_needed: bool) -> Pair:
        points = count_records(pair.scan, self.point_bytes, "points")
        if pair.label is None or not pair.label.is_file():
            if labels_needed:
                what = pair.label or f"{pair.scan_id} of {self.root}"
                raise UserError(
                    f"{what}: no labels of {pair.scan}, which training and validation need; {self.labels_from}"
                )
            return replace(pair, label=None)
        width = self.width_of(pair.label)
        if width is not None:
            require_same(pair.label, count_records(pair.label, width, "labels"), pair.scan, points)
        return pair


def require_folder(root: Path) -> None:
    """Refuse a root that is no folder.

    Raises:
        UserError: There is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"data.root={root}: no such folder; set data.root to the folder of the data set")
