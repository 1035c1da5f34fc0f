"""Reader of PandaSet (Xiao et al., ITSC 2021; pandaset-devkit)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from clusterseg.config.signatures import checked
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.reader import Reader, Scan
from clusterseg.data.readers.frames import read_frame
from clusterseg.data.readers.paired import Pair, require_folder
from clusterseg.data.readers.records import require_same
from clusterseg.errors import UserError

#: The sequences of OpenPCDet's configuration (pandaset_dataset.yaml), drawn at random there; PandaSet has no split of
#: its own. Those without labels of points are passed over.
SPLITS: dict[str, tuple[int, ...]] = {
    "train": (
        2, 5, 6, 12, 14, 15, 16, 18, 19, 23, 24, 28, 30, 33, 34, 35, 37, 38, 39, 40, 41, 44, 46, 47, 48, 50, 52, 58, 63,
        64, 66, 67, 69, 71, 77, 79, 84, 85, 88, 89, 91, 92, 93, 95, 98, 99, 100, 102, 104, 105, 106, 113, 116, 117, 119,
        120, 122, 123, 124, 139, 158,
    ),
    "val": (3, 11, 20, 21, 27, 42, 43, 45, 51, 55, 56, 57, 59, 73, 78, 80, 94, 97, 101, 109),
    "test": (1, 4, 8, 13, 17, 29, 32, 53, 54, 62, 65, 68, 70, 72, 74, 86, 90, 103, 110, 112, 115, 149),
}  # fmt: skip
SENSORS = {"pandar64": 0, "pandargt": 1}
Sensor = Literal["pandar64", "pandargt", "both"]
Split = Literal["train", "val", "test"]
Origin = tuple[float, float, float]
#: Pandar64 in the frame of the car, in metres: found by sharpening the histogram of elevations of two frames, y to
#: 0.4 m and z to 0.2 m. The devkit does not state it.
PANDAR64: Origin = (0.0, 1.45, 2.0)


@checked("data")
class PandasetReader(Reader):
    """Reads PandaSet.

    Sensors: Hesai Pandar64 (spinning, `d` = 0) and PandarGT (solid state, looks forward, `d` = 1), in one cloud,
    corrected for the motion of the car. On disk: pickled data frames of float64 x, y, z in metres in the frame of the
    world (origin: the first pose of the sequence), intensity 0..255, time, d. Here: the frame of the car by the pose of
    the sweep, x right, y forward, z up, moved by `origin`; with the default the road is near z = -2.4. Remission is
    intensity / 255. Labels: raw ids 1..42.

    Scans are named 002/00. Pickles are read by a restricted reader that runs nothing.

    Args:
        root: The folder of the sequences 001, 002, ....
        sensor: The sensor whose points are read: `pandar64`, `pandargt` or `both`.
        origin: The new origin in the frame of the car, in metres. The default is about the place of the Pandar64;
            [0, 0, 0] keeps the frame of the car, whose origin is 0.43 m above the road.
        sequences: Lists under train, val, test that replace `SPLITS`, in which sequences that are not there or have no
            labels are passed over; sequences listed here must be there.

    Raises:
        UserError: A setting is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        sensor: Sensor = "pandar64",
        origin: Sequence[float] = PANDAR64,
        sequences: Mapping[Split, Sequence[int | str] | None] | None = None,
    ) -> None:
        if len(origin) != 3:
            raise UserError(f"data.origin={list(origin)}: expected three numbers in metres, as [0,1.45,2]")
        self.root = Path(root).expanduser()
        self.sensor = sensor
        self.origin = tuple(float(value) for value in origin)
        self._given = {split: names for split, names in (sequences or {}).items() if names is not None}
        self._pairs: dict[str, Pair] = {}
        self._poses: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def scans(self, split: str) -> Sequence[str]:
        """List the scans of a split; those of train and val need labels.

        Raises:
            UserError: A sequence or a file is missing, or there are fewer poses than scans.
        """
        return self._list(split, labels_needed=split in ("train", "val"))

    def unchecked(self, split: str) -> Sequence[str]:
        """List the scans of a split, those without labels too.

        Raises:
            UserError: A sequence is missing, or there are fewer poses than scans.
        """
        return self._list(split, labels_needed=False)

    def _list(self, split: str, labels_needed: bool) -> Sequence[str]:
        require_folder(self.root)
        pairs = [pair for folder in self._folders(split) for pair in self._frames(folder, labels_needed)]
        if not pairs:
            raise UserError(
                f"data.root={self.root}: no sequence of the split {split} there; present: "
                f"{', '.join(self._present()) or 'none'}; list those to use, as data.sequences.{split}=[2]"
            )
        self._pairs |= {pair.scan_id: pair for pair in pairs}
        return [pair.scan_id for pair in pairs]

    def has_split(self, split: str) -> bool:
        """Return whether sequences are listed for the split."""
        return split == "all" or bool(self._given.get(split, SPLITS[split]))  # type: ignore[call-overload]  # any name

    def read(self, scan_id: str) -> Scan:
        """Read a scan listed by `scans`."""
        pair = self._pairs[scan_id]
        frame = _numbers(pair.scan, read_frame(pair.scan), ("x", "y", "z", "i", "d"))
        stays = slice(None) if self.sensor == "both" else frame["d"] == SENSORS[self.sensor]
        place, rotation = self._poses[scan_id]
        world = np.stack([frame["x"], frame["y"], frame["z"]], axis=1)[stays]
        xyz = (world - place) @ rotation - np.array(self.origin)
        points = np.c_[xyz, frame["i"][stays] / 255].astype(np.float32)
        if pair.label is None:
            return Scan(points)
        labels = _numbers(pair.label, read_frame(pair.label), ("class",))["class"]
        require_same(pair.label, len(labels), pair.scan, len(frame["x"]))
        return Scan(points, labels[stays].astype(np.int64))

    def source(self, scan_id: str, what: str = "points") -> str:
        """Return the path of the file of the points or the labels."""
        pair = self._pairs[scan_id]
        return str(pair.label if what == "labels" else pair.scan)

    def _present(self) -> list[str]:
        return sorted(folder.parent.name for folder in self.root.glob("*/lidar"))

    def _folders(self, split: str) -> Iterator[Path]:
        """Yield the folders of a split's sequences: those listed must be there, those of `SPLITS` may be absent."""
        present = self._present()
        listed = self._given.get(split)  # type: ignore[call-overload]  # any name may be asked for
        names = present if split == "all" else [str(name).zfill(3) for name in listed or SPLITS.get(split, ())]
        for name in names:
            labelled = (self.root / name / "annotations/semseg").is_dir()
            if name in present and (labelled or listed is not None or split not in ("train", "val")):
                yield self.root / name
            elif listed is not None:
                raise UserError(
                    f"data.root={self.root}: data.sequences.{split}: sequence {name} is missing; "
                    f"present: {', '.join(present) or 'none'}"
                )

    def _frames(self, folder: Path, labels_needed: bool) -> Iterator[Pair]:
        """Yield the scans of a sequence, and keep their poses."""
        files = sorted((folder / "lidar").glob("*.pkl.gz"))
        poses = read_poses(folder / "lidar/poses.json")
        for scan in files:
            name = scan.name.removesuffix(".pkl.gz")
            label = folder / "annotations/semseg" / scan.name
            if not name.isdigit() or int(name) >= len(poses):
                raise UserError(
                    f"{folder}/lidar/poses.json: {len(poses)} poses, but there is a scan {scan.name}; each scan needs "
                    "the pose of its number: download poses.json again"
                )
            if labels_needed and not label.is_file():
                raise UserError(
                    f"{label}: no labels of {scan}, which training and validation need; "
                    "download them, or remove the scan"
                )
            scan_id = f"{folder.name}/{name}"
            self._poses[scan_id] = poses[int(name)]
            yield Pair(scan_id, scan, label if label.is_file() else None)


def read_poses(path: Path) -> list[tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, "3 3"]]]:
    """Read poses.json: the place of the car in the world in metres, and its rotation from its own frame to the world's.

    Raises:
        UserError: The file is missing or malformed.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [(_vector(entry["position"], "xyz"), rotation(_vector(entry["heading"], "wxyz"))) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: expected a list of poses with position (x, y, z) and heading (w, x, y, z), {error!r}; "
            "download it again"
        ) from None


def rotation(quaternion: Float64[np.ndarray, " 4"]) -> Float64[np.ndarray, "3 3"]:
    """Return the matrix of a rotation given as a quaternion w, x, y, z of any length."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def _vector(entry: Mapping[str, Any], names: str) -> np.ndarray:
    return np.array([float(entry[name]) for name in names])


def _numbers(path: Path, frame: dict[str, np.ndarray], names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return the frame if it has columns of these names."""
    missing = [name for name in names if name not in frame]
    if missing:
        raise UserError(f"{path}: has no column {', '.join(missing)}; found {', '.join(frame) or 'none'}")
    return frame


class PandasetDataModule(ScanDataModule):
    """PandaSet; see `PandasetReader` for the first four settings and `ScanDataModule` for the others.

    Raises:
        UserError: A setting is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        sensor: Sensor = "pandar64",
        origin: Sequence[float] = PANDAR64,
        sequences: Mapping[Split, Sequence[int | str] | None] | None = None,
        label_map: str | dict[str, Any] = "pandaset",
        **settings: Any,
    ) -> None:
        super().__init__(PandasetReader(root, sensor, origin, sequences), label_map, **settings)
