"""Reader of the Waymo Open Dataset's lidar segmentation, converted to the layout of SemanticKITTI."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from clusterseg.config.signatures import checked
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.readers.sequence_folders import SequenceFolderReader, Split

#: The first digit of the folders that the converter makes of training, validation and testing.
FIRST = {"train": "0", "val": "1", "test": "2"}


@checked("data")
class WaymoReader(SequenceFolderReader):
    """Reads what `waymo_converter/waymo_to_sem_kitti.py` of FRNet (Xu et al., 2024) writes of Waymo's tfrecords.

    The tfrecords themselves need TensorFlow and are not read here. The converter keeps the frames that are labelled and
    the points of the top lidar. Sensor: Waymo's own top lidar, 64 beams. Frame: the lidar's, in metres, z up. On disk:
    float32 x, y, z, intensity, which has no upper bound; remission here is tanh(intensity), as mmdetection3d takes it.
    Labels: uint32, raw ids 0..22 in the low 16 bits, the instance above them.

    Its folders are `sequences/0000`, `0001`, ... for training and `1000`, ... for validation.

    Args:
        root: A folder that holds the sequences, or one with a folder `sequences` that does.
        sequences: Lists under train, val, test that replace those by the first digit.

    Raises:
        UserError: A list is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        sequences: Mapping[Split, Sequence[int | str] | None] | None = None,
    ) -> None:
        super().__init__(root, sequences)

    def default_sequences(self, split: str, present: Sequence[str]) -> Sequence[str]:
        """Return the sequences whose name begins with the digit of the split."""
        return [name for name in present if name.startswith(FIRST[split])]

    def remission(self, raw: Float32[np.ndarray, " points"]) -> Float32[np.ndarray, " points"]:
        """Return tanh(intensity)."""
        return np.tanh(raw)


class WaymoDataModule(ScanDataModule):
    """Waymo; see `WaymoReader` for the first two settings and `ScanDataModule` for the others.

    Raises:
        UserError: A setting is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        sequences: Mapping[Split, Sequence[int | str] | None] | None = None,
        label_map: str | dict[str, Any] = "waymo",
        **settings: Any,
    ) -> None:
        super().__init__(WaymoReader(root, sequences), label_map, **settings)
