"""Label maps: raw label ids on disk <-> train ids 0..18 that a network predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16, Int64, Integer, UInt8, UInt32

from clusterseg.errors import UserError

IGNORE_INDEX = 255

# The benchmark's classes in train order: name, raw id written in submissions, colour (red, green, blue).
# Source: semantic-kitti-api, config/semantic-kitti.yaml (learning_map_inv; color_map there is in BGR order).
_CLASSES: tuple[tuple[str, int, tuple[int, int, int]], ...] = (
    ("car", 10, (100, 150, 245)),
    ("bicycle", 11, (100, 230, 245)),
    ("motorcycle", 15, (30, 60, 150)),
    ("truck", 18, (80, 30, 180)),
    ("other-vehicle", 20, (0, 0, 255)),
    ("person", 30, (255, 30, 30)),
    ("bicyclist", 31, (255, 40, 200)),
    ("motorcyclist", 32, (150, 30, 90)),
    ("road", 40, (255, 0, 255)),
    ("parking", 44, (255, 150, 255)),
    ("sidewalk", 48, (75, 0, 75)),
    ("other-ground", 49, (175, 0, 75)),
    ("building", 50, (255, 200, 0)),
    ("fence", 51, (255, 120, 50)),
    ("vegetation", 70, (0, 175, 0)),
    ("trunk", 71, (135, 60, 0)),
    ("terrain", 72, (150, 240, 80)),
    ("pole", 80, (255, 240, 150)),
    ("traffic-sign", 81, (255, 0, 0)),
)
# unlabeled, outlier, other-structure, other-object
_IGNORED = (0, 1, 52, 99)
# moving-* ids count as their class at rest
_MOVING = {
    252: "car",
    253: "bicyclist",
    254: "person",
    255: "motorcyclist",
    258: "truck",
    259: "other-vehicle",
}
# bus, on-rails, lane-marking, moving-on-rails, moving-bus: merged by the benchmark, ignored by the first release
_MERGED = {13: "other-vehicle", 16: "other-vehicle", 60: "road", 256: "other-vehicle", 257: "other-vehicle"}


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Translation between the raw label ids of a dataset and contiguous train ids.

    Attributes:
        name: The name that `data.label_map` takes.
        class_names: One name per train id.
        colours: Red, green, blue per train id, 0..255.
        raw_to_train: Train id of every raw id of 16 bits; `IGNORE_INDEX` where ignored, -1 where unknown.
        train_to_raw: The raw id that stands for a train id in a submission.
    """

    name: str
    class_names: tuple[str, ...]
    colours: UInt8[np.ndarray, "classes 3"]
    raw_to_train: Int16[np.ndarray, "65536"]
    train_to_raw: Int64[np.ndarray, " classes"]

    @property
    def num_classes(self) -> int:
        """Number of classes that count; `IGNORE_INDEX` is none of them."""
        return len(self.class_names)

    def to_train(self, raw: Integer[np.ndarray, " points"]) -> Int64[np.ndarray, " points"]:
        """Map raw labels to train ids 0..classes-1, or `IGNORE_INDEX`.

        Args:
            raw: Labels as stored; the low 16 bits are the semantic id, what lies above (the instance) is dropped.

        Raises:
            UserError: A semantic id is not part of this dataset. The caller adds the file's name.
        """
        semantic = raw & 0xFFFF
        train = self.raw_to_train[semantic].astype(np.int64)
        if train.size and train.min() < 0:
            unknown = np.unique(semantic[train < 0]).tolist()
            known = int((self.raw_to_train >= 0).sum())
            raise UserError(
                f"unknown label ids {unknown}: not among the {known} ids of data.label_map={self.name}; "
                "correct the file, or choose the label map that it was written for"
            )
        return train

    def to_raw(self, train: Integer[np.ndarray, " points"]) -> UInt32[np.ndarray, " points"]:
        """Map train ids to the raw ids that the benchmark expects; `IGNORE_INDEX` becomes 0 (unlabeled).

        Raises:
            ValueError: A train id is neither a class nor `IGNORE_INDEX`.
        """
        ignored = train == IGNORE_INDEX
        if not (ignored | ((train >= 0) & (train < self.num_classes))).all():
            raise ValueError(f"train ids must be 0..{self.num_classes - 1} or {IGNORE_INDEX}")
        return np.where(ignored, 0, self.train_to_raw[np.where(ignored, 0, train)]).astype(np.uint32)


def load_label_map(name: str) -> LabelMap:
    """Return a label map by name.

    Args:
        name: `semantickitti`, the benchmark's own map of all 34 raw ids, or `semantickitti_release`, the map of the
            method's first release, which ignores bus, on-rails and lane-marking.

    Raises:
        UserError: No label map has that name.
    """
    merged: dict[str, Mapping[int, str | None]] = {
        "semantickitti": _MERGED,
        "semantickitti_release": dict.fromkeys(_MERGED),
    }
    if name not in merged:
        raise UserError(f"data.label_map={name}: no such label map; choose one of {', '.join(merged)}")
    names = tuple(class_name for class_name, _, _ in _CLASSES)
    lookup = np.full(1 << 16, -1, np.int16)
    lookup[list(_IGNORED)] = IGNORE_INDEX
    lookup[[raw for _, raw, _ in _CLASSES]] = np.arange(len(_CLASSES))
    for raw, class_name in {**_MOVING, **merged[name]}.items():
        lookup[raw] = IGNORE_INDEX if class_name is None else names.index(class_name)
    return LabelMap(
        name=name,
        class_names=names,
        colours=np.array([colour for _, _, colour in _CLASSES], np.uint8),
        raw_to_train=lookup,
        train_to_raw=np.array([raw for _, raw, _ in _CLASSES], np.int64),
    )
