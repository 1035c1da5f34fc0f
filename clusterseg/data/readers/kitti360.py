"""Reader of KITTI-360 (Liao et al., TPAMI 2022) with a label for each point of each scan."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, Int64

from clusterseg.config.signatures import checked
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.readers.label_files import read_label_array
from clusterseg.data.readers.paired import Pair, PairedReader
from clusterseg.data.readers.records import read_records
from clusterseg.errors import UserError

Split = Literal["train", "val", "test"]
_WINDOW = re.compile(r"(\d{4}_\d\d_\d\d_drive_\d{4}_sync)/static/(\d+)_(\d+)\.ply\s*$")
#: Endings of label files, their type and the bytes of a label.
LABELS = {".bin": ("<i2", 2), ".label": ("<u4", 4), ".npy": ("", 0)}


@checked("data")
class Kitti360Reader(PairedReader):
    """Reads the scans of KITTI-360 with labels recovered for each scan.

    KITTI-360 labels the accumulated cloud of a window of the drive, not the scans. `recoverLabels.py` of
    JulesSanchez/recoverKITTI360label carries the labels of the nearest accumulated points over to the scans, and writes
    OUTPUT/2013_05_28_drive_0000_sync/labels/0000000002.bin: int16, -1 where no point is within 0.5 m. Set
    `labels=OUTPUT`. Files of uint32 (`.label`) or numpy arrays (`.npy`) of that name are read as well.

    Sensor: Velodyne HDL-64E. Frame: the sensor's, in metres, x forward, y left, z up, road near z = -1.7, not corrected
    for the motion of the car. On disk: float32 x, y, z, remission 0..1. Labels: ids 0..44 of kitti360Scripts; -1 is
    read as 0, which is ignored.

    Scans are named 2013_05_28_drive_0000_sync/0000000002. Without `drives` the split is the official one of the
    windows, in `data_3d_semantics/train/2013_05_28_drive_{train,val}.txt`; neighbouring windows overlap, and a frame of
    both is validated on. Frames that have no label file are left out.

    Args:
        root: The folder that holds `data_3d_raw`.
        labels: The folder that holds the drives' label folders, within `root` or absolute.
        drives: Lists under train, val, test of numbers of drives, as [0, 2], which replace the windows.

    Raises:
        UserError: A setting is invalid.
    """

    labels_from: ClassVar[str] = "write them with recoverLabels.py of recoverKITTI360label, and set data.labels"

    def __init__(
        self,
        root: str | os.PathLike[str],
        labels: str | os.PathLike[str] = "data_3d_labels",
        drives: Mapping[Split, Sequence[int] | None] | None = None,
    ) -> None:
        super().__init__(root)
        self.labels = self.root / Path(labels).expanduser()
        self.drives = {split: numbers for split, numbers in (drives or {}).items() if numbers is not None}

    def pairs(self, split: str) -> Iterable[Pair]:
        """List the scans of a split that have labels; of test and all, every scan."""
        if split == "all":
            return self._scans("2013_05_28_drive_*_sync", False)
        if split in self.drives:
            patterns = [f"2013_05_28_drive_{number:04d}_sync" for number in self.drives[split]]
            return [pair for pattern in patterns for pair in self._scans(pattern, split != "test")]
        frames = self._windows(split)
        if split == "train":
            frames -= self._windows("val")
        return [p for p in self._scans("2013_05_28_drive_*_sync", True) if p.scan_id in frames]

    def has_split(self, split: str) -> bool:
        """Return whether the split is listed."""
        if split == "all":
            return True
        return bool(self.drives.get(split, split != "test"))  # type: ignore[call-overload]  # any name

    def read_points(self, path: Path) -> Float32[np.ndarray, "points 4"]:
        """Read x, y, z, remission."""
        return read_records(path, "<f4", 4, "points (x, y, z, remission as float32)")

    def read_labels(self, path: Path) -> Int64[np.ndarray, " points"]:
        """Read ids; negative ones become 0."""
        if path.suffix == ".npy":
            labels = read_label_array(path)
        else:
            labels = read_records(path, LABELS[path.suffix][0], 1, "labels")[:, 0]
        return np.maximum(labels.astype(np.int64), 0)

    def width_of(self, label: Path) -> int | None:
        """Return the bytes of a label; None for a numpy array, whose header has a length of its own."""
        return LABELS[label.suffix][1] or None

    def _scans(self, drive: str, labelled: bool) -> list[Pair]:
        """List the scans of some drives in order, all or those with labels."""
        pattern = f"data_3d_raw/{drive}/velodyne_points/data/*.bin"
        pairs = [self._pair(path) for path in sorted(self.root.glob(pattern))]
        kept = [pair for pair in pairs if pair.label is not None or not labelled]
        if not kept:
            raise UserError(
                f"data.root={self.root}: {len(pairs)} scans at {pattern}, none with labels under {self.labels}; "
                f"{self.labels_from}"
            )
        return kept

    def _pair(self, scan: Path) -> Pair:
        drive = scan.parts[-4]
        candidates = (self.labels / drive / "labels" / f"{scan.stem}{ending}" for ending in LABELS)
        return Pair(f"{drive}/{scan.stem}", scan, next((path for path in candidates if path.is_file()), None))

    def _windows(self, split: str) -> set[str]:
        """Return the frames of the official windows of a split."""
        path = self.root / f"data_3d_semantics/train/2013_05_28_drive_{split}.txt"
        if not path.is_file():
            raise UserError(
                f"{path}: no such list of windows; it comes with the accumulated clouds of KITTI-360. Download it, or "
                f"list drives, as data.drives.{split}=[0,2]"
            )
        found = [_WINDOW.search(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {f"{m[1]}/{frame:010d}" for m in found if m for frame in range(int(m[2]), int(m[3]) + 1)}


class Kitti360DataModule(ScanDataModule):
    """KITTI-360; see `Kitti360Reader` for the first three settings and `ScanDataModule` for the others.

    Raises:
        UserError: A setting is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        labels: str | os.PathLike[str] = "data_3d_labels",
        drives: Mapping[Split, Sequence[int] | None] | None = None,
        label_map: str | dict[str, Any] = "kitti360",
        **settings: Any,
    ) -> None:
        super().__init__(Kitti360Reader(root, labels, drives), label_map, **settings)
