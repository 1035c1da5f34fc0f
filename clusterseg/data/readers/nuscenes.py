"""Reader of nuScenes-lidarseg (Fong et al., RA-L 2022; devkit of nuScenes, docs/schema_nuscenes.md)."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from clusterseg.config.signatures import checked
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.readers.nuscenes_scenes import scenes_of
from clusterseg.data.readers.paired import Pair, PairedReader
from clusterseg.data.readers.records import read_records
from clusterseg.data.readers.tables import rows
from clusterseg.errors import UserError

Version = Literal["v1.0-trainval", "v1.0-mini", "v1.0-test"]
#: The official split of scenes of each split of a version.
SPLITS: dict[str, dict[str, str]] = {
    "v1.0-trainval": {"train": "train", "val": "val"},
    "v1.0-mini": {"train": "mini_train", "val": "mini_val"},
    "v1.0-test": {"test": "test"},
}
log = logging.getLogger("clusterseg")


@dataclass(frozen=True)
class Keyframe:
    """A labelled sweep, as the tables name it.

    Attributes:
        scene: Name of its scene.
        time: Time in microseconds.
        token: Its token in `sample_data`, which also names its label file.
        points: Its file, relative to the root.
        labels: Its label file, relative to the root; None if the tables name none.
    """

    scene: str
    time: int
    token: str
    points: str
    labels: str | None


@checked("data")
class NuscenesReader(PairedReader):
    """Reads the lidar sweeps of nuScenes that are labelled, two a second.

    Sensor: Velodyne HDL-32E, one sweep, corrected for the motion of the car. Frame: the sensor's, in metres, x right, y
    forward, z up, road near z = -1.8. On disk: float32 x, y, z, intensity 0..255, ring; remission here is
    intensity / 255, and the ring is left out. Labels: uint8, raw ids 0..31. Points on the own car are kept; their label
    (31) is ignored.

    Scans are named scene-0061/TOKEN, by the token of the sweep. The splits are the official ones; test is read from
    v1.0-test beside v1.0-trainval.

    Args:
        root: The folder that holds `samples`, `lidarseg` and the tables `v1.0-...`.
        version: The folder of tables.
        missing: `error`, or `skip`: leave out sweeps that the tables name and the disk lacks, as after a partial
            download.

    Raises:
        UserError: A setting is invalid.
    """

    point_bytes: ClassVar[int] = 20
    label_bytes: ClassVar[int] = 1
    labels_from: ClassVar[str] = "download nuScenes-lidarseg into the same folder"

    def __init__(
        self,
        root: str | os.PathLike[str],
        version: Version = "v1.0-trainval",
        missing: Literal["error", "skip"] = "error",
    ) -> None:
        super().__init__(root)
        self.version = version
        self.missing = missing
        self._keyframes: dict[str, list[Keyframe]] = {}

    def pairs(self, split: str) -> Iterable[Pair]:
        """List the labelled sweeps of a split by scene and time."""
        version = "v1.0-test" if split == "test" else self.version
        if version not in self._keyframes:
            self._keyframes[version] = read_keyframes(self.root, version)
        official = SPLITS[version].get(split)
        scenes = None if split == "all" else scenes_of(official) if official else frozenset()
        chosen = [k for k in self._keyframes[version] if scenes is None or k.scene in scenes]
        present = [k for k in chosen if self.missing == "error" or (self.root / k.points).is_file()]
        if len(present) < len(chosen):
            log.warning("%s: %d of %d sweeps of %s are not there", self.root, *_left(chosen, present), split)
        return [self._pair(keyframe) for keyframe in present]

    def has_split(self, split: str) -> bool:
        """Return whether the version has the split; test also needs its tables on disk."""
        if split == "test":
            return (self.root / "v1.0-test").is_dir()
        return split == "all" or split in SPLITS[self.version]

    def read_points(self, path: Path) -> Float32[np.ndarray, "points 4"]:
        """Read x, y, z, remission."""
        points = read_records(path, "<f4", 5, "points (x, y, z, intensity, ring as float32)")[:, :4].astype(np.float32)
        points[:, 3] /= 255
        return points

    def read_labels(self, path: Path) -> UInt8[np.ndarray, " points"]:
        """Read raw ids."""
        return read_records(path, "u1", 1, "labels")[:, 0]

    def _pair(self, keyframe: Keyframe) -> Pair:
        labels = None if keyframe.labels is None else self.root / keyframe.labels
        return Pair(f"{keyframe.scene}/{keyframe.token}", self.root / keyframe.points, labels)


def read_keyframes(root: Path, version: str) -> list[Keyframe]:
    """Read the tables of a version: its sweeps at key frames, by scene and time.

    Raises:
        UserError: A table is missing or malformed, or refers to a row that another one lacks.
    """
    tables = root / version
    scenes = {row["token"]: row["name"] for row in rows(tables / "scene.json", "token", "name")}
    samples = {row["token"]: row["scene_token"] for row in rows(tables / "sample.json", "token", "scene_token")}
    labels = {}
    if (tables / "lidarseg.json").is_file() or version != "v1.0-test":  # the test set has no labels
        listed = rows(tables / "lidarseg.json", "sample_data_token", "filename")
        labels = {row["sample_data_token"]: row["filename"] for row in listed}
    keys = ("token", "sample_token", "timestamp", "filename", "is_key_frame")
    sweeps = (row for row in rows(tables / "sample_data.json", *keys) if _is_sweep(row))
    try:
        found = [_keyframe(row, scenes[samples[row["sample_token"]]], labels) for row in sweeps]
    except KeyError as error:
        raise UserError(
            f"{tables}: sample_data.json refers to {error}, which sample.json or scene.json lacks; the tables are of "
            "different versions: download them together"
        ) from None
    return sorted(found, key=lambda keyframe: (keyframe.scene, keyframe.time))


def _is_sweep(row: dict[str, Any]) -> bool:
    return bool(row["is_key_frame"]) and "/LIDAR_TOP/" in str(row["filename"])


def _keyframe(row: dict[str, Any], scene: str, labels: dict[str, str]) -> Keyframe:
    return Keyframe(scene, row["timestamp"], row["token"], row["filename"], labels.get(row["token"]))


def _left(chosen: list[Keyframe], present: list[Keyframe]) -> tuple[int, int]:
    return len(chosen) - len(present), len(chosen)


class NuscenesDataModule(ScanDataModule):
    """nuScenes-lidarseg; see `NuscenesReader` for the first three settings and `ScanDataModule` for the others.

    Raises:
        UserError: A setting is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        version: Version = "v1.0-trainval",
        missing: Literal["error", "skip"] = "error",
        label_map: str | dict[str, Any] = "nuscenes",
        **settings: Any,
    ) -> None:
        super().__init__(NuscenesReader(root, version, missing), label_map, **settings)
