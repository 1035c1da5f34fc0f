"""Reader of the Waymo Open Dataset's lidar segmentation, converted to the layout of SemanticKITTI."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.readers.sequence_folders import SequenceFolderReader, Split

#: Segments of the training set; those of the validation set follow, 202 of them.
TRAINING = 798


class WaymoReader(SequenceFolderReader):
    """Reads what a tool writes of Waymo's tfrecords, which need TensorFlow and are not read here.

    IrohXu/waymo_to_semanticKITTI numbers the segments of training and validation through: 0000 to 0797, 0798 to 0999.
    It keeps both returns of all five lidars in the frame of the vehicle, whose origin is on the road, and labels the
    top lidar alone; the others get 0, which is ignored. `waymo_to_sem_kitti.py`, which comes with a fork of FRNet,
    begins validation with 1000 and keeps the top lidar in its own frame. Both keep the labelled frames alone.

    Sensor: Waymo's own lidars. Frame: that of the tool, in metres, z up. On disk: float32 x, y, z, intensity, which has
    no upper bound; remission here is tanh(intensity), as mmdetection3d takes it. Labels: uint32, raw ids 0..22 in the
    low 16 bits, an instance above them.

    Args:
        root: A folder that holds the sequences, or one with a folder `sequences` that does.
        sequences: Lists under train, val, test. The default is right for whole conversions by either tool: train is
            below 0798, val the rest; after a partial one, list them.

    Raises:
        UserError: A list is invalid.
    """

    def default_sequences(self, split: str, present: Sequence[str]) -> Sequence[str]:
        """Return the sequences of a whole conversion; there are no others for test."""
        numbers = {name: int(name) for name in present if name.isdecimal()}
        if split == "train":
            return [name for name, number in numbers.items() if number < TRAINING]
        return [name for name, number in numbers.items() if number >= TRAINING and split == "val"]

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
