"""Data sets of other sensors in the folder layout of SemanticKITTI: `velodyne/*.bin` beside `labels/*.label`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt32

from clusterseg.config.signatures import checked
from clusterseg.data.readers.paired import Pair, PairedReader
from clusterseg.data.readers.records import read_records
from clusterseg.data.scan import read_scan
from clusterseg.data.sequences import find_sequences, list_scans, sequence_names

Split = Literal["train", "val", "test"]


@checked("data")
class SequenceFolderReader(PairedReader):
    """Reads sequences of `.bin` and `.label` files; a subclass states the splits and the scale of the remission.

    Scans are named 00/000004.

    Args:
        root: A folder that holds the sequences, or one with a folder `sequences` that does.
        sequences: Lists under train, val, test that replace the default ones.

    Raises:
        UserError: A list is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        sequences: Mapping[Split, Sequence[int | str] | None] | None = None,
    ) -> None:
        super().__init__(root)
        given = {split: names for split, names in (sequences or {}).items() if names is not None}
        self.sequences = {split: sequence_names(names, f"data.sequences.{split}") for split, names in given.items()}

    def default_sequences(self, split: str, present: Sequence[str]) -> Sequence[str]:
        """Return the sequences of a split that is not listed.

        Args:
            split: train, val or test.
            present: The sequences on disk.
        """
        raise NotImplementedError

    def remission(self, raw: Float32[np.ndarray, " points"]) -> Float32[np.ndarray, " points"]:
        """Return the remission in 0..1 of the fourth column."""
        raise NotImplementedError

    def pairs(self, split: str) -> Iterable[Pair]:
        """List the scans of the sequences of a split."""
        present = tuple(find_sequences(self.root))
        names = self.sequences.get(split)  # type: ignore[call-overload]  # any name may be asked for
        if names is None:
            names = present if split == "all" else tuple(self.default_sequences(split, present))
        listed = list_scans(self.root, names, f"data.sequences.{split}", require_labels=split in ("train", "val"))
        return [Pair(files.scan_id, files.scan, files.label) for files in listed]

    def read_points(self, path: Path) -> Float32[np.ndarray, "points 4"]:
        """Read x, y, z, remission."""
        points = read_scan(path)
        points[:, 3] = self.remission(points[:, 3])
        return points

    def read_labels(self, path: Path) -> UInt32[np.ndarray, " points"]:
        """Read raw ids, with instance numbers in the upper 16 bits."""
        return read_records(path, "<u4", 1, "labels")[:, 0]
