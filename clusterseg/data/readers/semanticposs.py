"""Reader of SemanticPOSS (Pan et al., IV 2020)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.readers.sequence_folders import SequenceFolderReader, Split

SPLITS: dict[str, tuple[str, ...]] = {"train": ("00", "01", "03", "04", "05"), "val": ("02",), "test": ()}


class SemanticPossReader(SequenceFolderReader):
    """Reads SemanticPOSS.

    Sensor: Hesai Pandora, 40 beams. Frame: the sensor's, in metres, z up. On disk: float32 x, y, z, intensity 0..255 in
    `velodyne/*.bin`; remission here is intensity / 255. Labels: uint32, raw ids 0..22 in the low 16 bits. The files
    `tag/*.tag`, which place the points in a range image, are not needed.

    Validation is sequence 02, as in the published configuration of CENet; others take 03, as
    `sequences={train: [0,1,2,4,5], val: [3]}`. There is no test set without labels.

    Args:
        root: A folder that holds 00 to 05, or one with a folder `sequences` that does.
        sequences: Lists under train, val, test that replace those above.

    Raises:
        UserError: A list is invalid.
    """

    def has_split(self, split: str) -> bool:
        """Return whether sequences are listed for the split."""
        if split == "all":
            return True
        return bool(self.sequences.get(split, SPLITS[split]))  # type: ignore[call-overload]  # any name

    def default_sequences(self, split: str, present: Sequence[str]) -> Sequence[str]:
        """Return the sequences of the usual split."""
        return SPLITS[split]

    def remission(self, raw: Float32[np.ndarray, " points"]) -> Float32[np.ndarray, " points"]:
        """Return intensity / 255."""
        return raw / 255


class SemanticPossDataModule(ScanDataModule):
    """SemanticPOSS; see `SemanticPossReader` for the first two settings and `ScanDataModule` for the others.

    Raises:
        UserError: A setting is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        sequences: Mapping[Split, Sequence[int | str] | None] | None = None,
        label_map: str | dict[str, Any] = "semanticposs",
        **settings: Any,
    ) -> None:
        super().__init__(SemanticPossReader(root, sequences), label_map, **settings)
