"""Label maps: raw label ids on disk <-> train ids that a network predicts. The tables are in `conf/data/label_map`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from jaxtyping import Int16, Int64, Integer, UInt8, UInt32
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clusterseg.data.label_mapping import RawId, expand, first_mistake
from clusterseg.errors import UserError
from clusterseg.files import CONF

#: Train id of ignored points, in training and in scores.
IGNORE_INDEX = 255
FOLDER = CONF / "data" / "label_map"
Channel = Annotated[int, Field(ge=0, le=255)]


class _Class(BaseModel):
    """One class of a table."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: RawId
    also: list[RawId] = []
    raw: list[RawId] | None = None  # the ids read, where they are not `id` and `also`
    colour: Annotated[list[Channel], Field(min_length=3, max_length=3)] = [128, 128, 128]


class _Table(BaseModel):
    """A label map as written in YAML."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    ignored: list[RawId] = []
    unlabeled: RawId = 0
    classes: Annotated[dict[str, _Class], Field(min_length=1, max_length=IGNORE_INDEX)]


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Translation between the raw label ids of a dataset and contiguous train ids.

    Attributes:
        name: Name of the table.
        class_names: One name per train id.
        colours: Red, green, blue per train id, 0..255.
        raw_to_train: Train id of every raw id of 16 bits; `IGNORE_INDEX` where ignored, -1 where unknown.
        train_to_raw: The raw id written for each train id in predictions.
        unlabeled: The raw id of a point without a prediction.
        table: The table as plain values, for a checkpoint.
    """

    name: str
    class_names: tuple[str, ...]
    colours: UInt8[np.ndarray, "classes 3"]
    raw_to_train: Int16[np.ndarray, "65536"]
    train_to_raw: Int64[np.ndarray, " classes"]
    unlabeled: int
    table: dict[str, Any]

    @property
    def num_classes(self) -> int:
        """Number of classes, without `IGNORE_INDEX`."""
        return len(self.class_names)

    def to_train(self, raw: Integer[np.ndarray, " points"]) -> Int64[np.ndarray, " points"]:
        """Map raw labels to train ids 0..classes-1, or `IGNORE_INDEX`.

        Args:
            raw: Labels as stored; the low 16 bits are the semantic id, the higher bits (the instance) are dropped.

        Raises:
            UserError: A semantic id is unknown. The caller adds the file's name.
        """
        semantic = raw.astype(np.int64) & 0xFFFF  # the mask does not fit labels of 8 or 16 bits
        train = self.raw_to_train[semantic].astype(np.int64)
        if train.size and train.min() < 0:
            unknown = np.unique(semantic[train < 0]).tolist()
            known = int((self.raw_to_train >= 0).sum())
            raise UserError(
                f"unknown label ids {unknown}: not among the {known} ids of data.label_map={self.name}; "
                "correct the file, add the ids to the map (under a class, or as ignored), or choose the map that the "
                "file was written for"
            )
        return train

    def to_raw(self, train: Integer[np.ndarray, " points"]) -> UInt32[np.ndarray, " points"]:
        """Map train ids to the raw ids written in predictions. `IGNORE_INDEX` becomes `unlabeled`.

        Raises:
            ValueError: A train id is neither a class nor `IGNORE_INDEX`.
        """
        ignored = train == IGNORE_INDEX
        if not (ignored | ((train >= 0) & (train < self.num_classes))).all():
            raise ValueError(f"train ids must be 0..{self.num_classes - 1} or {IGNORE_INDEX}")
        return np.where(ignored, self.unlabeled, self.train_to_raw[np.where(ignored, 0, train)]).astype(np.uint32)


def load_label_map(source: str | Path | Mapping[str, Any]) -> LabelMap:
    """Load a label map.

    Args:
        source: A name in `conf/data/label_map`, the path of a YAML file like those, or the table itself. A table with
            the key `onto` is a mapping, see `clusterseg.data.label_mapping.expand`.

    Raises:
        UserError: The table does not exist or is malformed.

    Examples:
        >>> load_label_map("semantickitti").class_names[:3]
        ('car', 'bicycle', 'motorcycle')
    """
    table, where = (dict(source), "data.label_map") if isinstance(source, Mapping) else _read(str(source))
    if "onto" in table:
        table = expand(table, where, load_label_map)
    try:
        checked = _Table.model_validate(table)
    except ValidationError as error:
        raise UserError(
            f"{where}: {first_mistake(error, 'the table')}; expected name, "
            "ignored (raw ids), and classes as NAME: {id: 10, also: [252], colour: [100, 150, 245]}"
        ) from None
    return _build(checked, where)


def shipped_maps() -> list[str]:
    """Return the names of the tables in `conf/data/label_map`."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def _read(source: str) -> tuple[dict[str, Any], str]:
    """Read the table of a name or a path."""
    shipped = FOLDER / f"{source}.yaml"
    path = shipped if "/" not in source and shipped.is_file() else Path(source).expanduser()
    if not path.is_file():
        raise UserError(
            f"data.label_map={source}: no such label map; choose one of {', '.join(shipped_maps())}, or give the path "
            "of a YAML file"
        )
    try:
        table = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"data.label_map={source}: {path} cannot be read as YAML ({error})") from None
    if not isinstance(table, dict):
        raise UserError(f"data.label_map={source}: {path} holds no table; expected name, ignored, classes")
    return table, str(path)


def _build(table: _Table, where: str) -> LabelMap:
    lookup = np.full(1 << 16, -1, np.int16)
    owner: dict[int, str] = {}
    for index, (name, entry) in enumerate(table.classes.items()):
        for raw in (entry.id, *entry.also) if entry.raw is None else entry.raw:
            if raw in owner:
                raise UserError(f"{where}: raw id {raw} is listed for {owner[raw]} and for {name}; keep one of them")
            owner[raw], lookup[raw] = name, index
    for raw in table.ignored:
        if raw in owner:
            raise UserError(f"{where}: raw id {raw} is ignored and listed for {owner[raw]}; keep one of them")
        lookup[raw] = IGNORE_INDEX
    return LabelMap(
        name=table.name,
        class_names=tuple(table.classes),
        colours=np.array([entry.colour for entry in table.classes.values()], np.uint8),
        raw_to_train=lookup,
        train_to_raw=np.array([entry.id for entry in table.classes.values()], np.int64),
        unlabeled=table.unlabeled,
        table=table.model_dump(exclude_none=True),
    )
