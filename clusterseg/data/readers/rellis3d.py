"""Reader of RELLIS-3D (Jiang et al., ICRA 2021)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, UInt32
from pydantic import Field

from clusterseg.config.signatures import checked
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.readers.paired import Pair, PairedReader
from clusterseg.data.readers.records import read_records
from clusterseg.errors import UserError

#: Folders of points and labels of each sensor, within a sequence.
FOLDERS = {
    "os1": ("os1_cloud_node_kitti_bin", "os1_cloud_node_semantickitti_label_id"),
    "velodyne": ("vel_cloud_node_kitti_bin", "vel_cloud_node_semantickitti_label_id"),
}
Sensor = Literal["os1", "velodyne"]
PHOTONS = 1000.0
Positive = Annotated[float, Field(gt=0)]


@checked("data")
class Rellis3dReader(PairedReader):
    """Reads RELLIS-3D.

    Sensors: Ouster OS1-64 (`os1`), labelled by hand; and Velodyne Ultra Puck (`velodyne`), with labels transferred from
    it. Frame: the sensor's, in metres, z up, not corrected for the motion of the vehicle. On disk: float32 x, y, z,
    intensity; of the OS1 intensity is its count of photons / 65535, of which the largest are near 0.01, and of the
    Velodyne 0..255. Remission here is photons / `photons`, at most 1, or intensity / 255. Labels: uint32, ids 0..34.

    Each scan of the OS1 is a full grid of 2048 x 64; rows without a return are (0, 0, 0). Their position is NaN here:
    they make no voxel, and yet a prediction has a row for each of them, as the benchmark's files do.

    The splits are the official ones of `pt_train.lst`, `pt_val.lst` and `pt_test.lst`, in which each line names a file
    of points and one of labels. Scans are named 00000/frame000104-1581624663_170.

    Args:
        root: The folder that holds 00000 to 00004, and the lists.
        sensor: `os1` or `velodyne`; for the latter, the lists' folders are replaced by those of the Velodyne.
        photons: The count of photons that is 1 here; the default is ours (of the sample frame 99.9 % are below it).

    Raises:
        UserError: A setting is invalid.
    """

    labels_from: ClassVar[str] = "download the annotations of the lidar, or take the line out of the list"
    no_return: ClassVar[bool] = True

    def __init__(self, root: str | os.PathLike[str], sensor: Sensor = "os1", photons: Positive = PHOTONS) -> None:
        super().__init__(root)
        self.sensor = sensor
        self.photons = photons

    def pairs(self, split: str) -> Iterable[Pair]:
        """List the scans of a list; of `all`, every scan there is."""
        if split != "all":
            return [self._pair(line) for line in self._lines(split)]
        folder = FOLDERS[self.sensor][0]
        return [self._pair(str(path.relative_to(self.root))) for path in sorted(self.root.glob(f"*/{folder}/*.bin"))]

    def has_split(self, split: str) -> bool:
        """Return whether the list of the split is there; that of train is taken for granted."""
        return split in ("all", "train") or self._list(split).is_file()

    def read_points(self, path: Path) -> Float32[np.ndarray, "points 4"]:
        """Read x, y, z, remission; without a return x, y, z are NaN."""
        points = read_records(path, "<f4", 4, "points (x, y, z, intensity as float32)")
        scale = 65535 / self.photons if self.sensor == "os1" else 1 / 255
        points[:, 3] = np.minimum(points[:, 3] * np.float32(scale), 1)
        points[(points[:, :3] == 0).all(1), :3] = np.nan
        return points

    def read_labels(self, path: Path) -> UInt32[np.ndarray, " points"]:
        """Read raw ids."""
        return read_records(path, "<u4", 1, "labels")[:, 0]

    def _list(self, split: str) -> Path:
        return self.root / f"pt_{split}.lst"

    def _lines(self, split: str) -> list[str]:
        """Return the first file of each line of a list."""
        path = self._list(split)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: the list of the split {split} cannot be read ({error}); download the split files of the "
                f"Ouster lidar into data.root={self.root}"
            ) from None
        return [line.split()[0] for line in lines if line.strip()]

    def _pair(self, line: str) -> Pair:
        """Return the files of a scan `00000/os1_cloud_node_kitti_bin/000104.bin`, of the chosen sensor."""
        parts = Path(line).parts
        if len(parts) < 3 or not parts[-1].endswith(".bin"):
            raise UserError(
                f"{self.root}: a split file names {line!r}; expected 00000/{FOLDERS['os1'][0]}/NAME.bin and the labels"
            )
        points, labels = FOLDERS[self.sensor]
        sequence, stem = parts[-3], parts[-1].removesuffix(".bin")
        folder = self.root / sequence
        return Pair(f"{sequence}/{stem}", folder / points / f"{stem}.bin", folder / labels / f"{stem}.label")


class Rellis3dDataModule(ScanDataModule):
    """RELLIS-3D; see `Rellis3dReader` for the first three settings and `ScanDataModule` for the others.

    Raises:
        UserError: A setting is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        sensor: Sensor = "os1",
        photons: Positive = PHOTONS,
        label_map: str | dict[str, Any] = "rellis3d",
        **settings: Any,
    ) -> None:
        super().__init__(Rellis3dReader(root, sensor, photons), label_map, **settings)
