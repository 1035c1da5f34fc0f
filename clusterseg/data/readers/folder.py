"""Reader of a folder of cloud files with labels beside them or in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Int64
from pydantic import Field

from clusterseg.config.signatures import checked
from clusterseg.data.clouds import FEATURES, SUFFIXES, Cloud, choose_layout, read_cloud
from clusterseg.data.clouds.origin import check_origin, find_offset
from clusterseg.data.clouds.scale import choose_remission_scale
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.reader import Reader, Scan
from clusterseg.data.readers.label_files import ENDINGS, read_label_file
from clusterseg.data.readers.paired import Pair, require_folder
from clusterseg.data.readers.records import require_same
from clusterseg.data.scan import naming
from clusterseg.errors import UserError

Split = Literal["train", "val", "test"]
Positive = Annotated[float, Field(gt=0)]
#: Where the clouds of a split lie, within the root.
SPLITS: dict[str, tuple[str, ...]] = {split: (f"{split}/**/*",) for split in ("train", "val", "test")}


@checked("data")
class FolderReader(Reader):
    """Reads clouds of any format that `predict` reads: .bin, .npy, .pcd, .ply, .las, .laz.

    Sensor: any. Units: metres. Frame: with `origin=auto` that of the file if it looks like a sensor's, else x and y
    around the middle of the cloud and its ground at -1.73 m, exactly as `predict` does. Remission: divided by
    `remission`, 0 where the file has none.

    Scans are named by their path within the root, without its ending.

    Args:
        root: The folder.
        splits: Patterns of files within the root under train, val, test; a `.txt` file in place of a pattern lists one
            pattern in each line. The default is `train/**/*`, `val/**/*`, `test/**/*`.
        labels: Where the labels of a cloud lie, within the root, with {folder} and {stem} for the cloud's own:
            `{folder}/{stem}.label`. `.npy` holds an array of integers, `.label` uint32, `.csv` one id in each line.
        label_field: The field of the cloud that holds the ids, such as `classification`, in place of files.
        columns: Names of the columns of .bin and .npy files, as [x,y,z,intensity,ring].
        format: Or the columns by the name of a data set: `kitti`, `nuscenes`, `waymo`, `xyz`.
        features: The columns that the network takes: x, y, z, remission, or further fields of the files.
        remission: The value that means full reflection; `auto` finds it in a few files, as `predict` does.
        origin: See `clusterseg.data.clouds.origin.find_offset`.

    Raises:
        UserError: A setting is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        splits: Mapping[Split, str | Sequence[str] | None] | None = None,
        labels: str = "{folder}/{stem}.label",
        label_field: str | None = None,
        columns: Sequence[str] | None = None,
        format: str | None = None,
        features: Sequence[str] = FEATURES,
        remission: Positive | Literal["auto"] = "auto",
        origin: str | Sequence[float] = "auto",
    ) -> None:
        self.root = Path(root).expanduser()
        self._given = {split for split, given in (splits or {}).items() if given is not None}
        self.splits = {split: list(patterns) for split, patterns in SPLITS.items()}
        for split, given in (splits or {}).items():
            if given is not None:
                self.splits[split] = [given] if isinstance(given, str) else list(given)
        self.labels = labels
        self.label_field = label_field
        self.features = tuple(features)
        self.layout = choose_layout(columns, format, self.features)
        self.remission = remission
        self.origin = check_origin(origin)
        self._pairs: dict[str, Pair] = {}
        self._check_template()

    def scans(self, split: str) -> Sequence[str]:
        """List the clouds of a split; those of train and val need labels.

        Raises:
            UserError: A folder or a label file is missing, or two clouds have one name.
        """
        return self._list(split, labels_needed=split in ("train", "val"))

    def unchecked(self, split: str) -> Sequence[str]:
        """List the clouds of a split, those without labels too.

        Raises:
            UserError: A folder is missing, or two clouds have one name.
        """
        return self._list(split, labels_needed=False)

    def _list(self, split: str, labels_needed: bool) -> Sequence[str]:
        require_folder(self.root)
        listed: dict[str, Pair] = {}
        for path in self._files(split):
            pair = self._pair(path, labels_needed)
            if pair.scan_id in listed:
                raise UserError(
                    f"{path} and {listed[pair.scan_id].scan}: two clouds of one name, which names their labels; "
                    "rename one, or give a pattern with its ending, as data.splits.train=train/**/*.pcd"
                )
            listed[pair.scan_id] = pair
        if not listed:
            patterns = ", ".join(self._patterns(split))
            raise UserError(
                f"data.root={self.root}: no cloud matches {patterns} (data.splits.{split}); expected files that end "
                f"with {', '.join(SUFFIXES)}"
            )
        self._pairs |= listed
        _ = self.scale  # found before loader processes copy the reader
        return list(listed)

    def has_split(self, split: str) -> bool:
        """Return whether patterns were given for the split, or any cloud matches the usual ones."""
        return split in self._given or next(self._files(split), None) is not None

    def read(self, scan_id: str) -> Scan:
        """Read a cloud listed by `scans`."""
        pair = self._pairs[scan_id]
        cloud = read_cloud(pair.scan, self.layout)
        with naming(pair.scan):
            offset = find_offset(cloud.xyz, self.origin)
            points = cloud.points(self.scale, self.features, offset)
            labels = None if self.label_field is None else field_labels(cloud, self.label_field)
        if pair.label is not None:
            labels = read_label_file(pair.label)
            require_same(pair.label, len(labels), pair.scan, len(points))
        return Scan(points, labels)

    def source(self, scan_id: str, what: str = "points") -> str:
        """Return the path of the cloud, or of its label file."""
        pair = self._pairs[scan_id]
        return str(pair.label if what == "labels" and pair.label is not None else pair.scan)

    @cached_property
    def scale(self) -> float:
        """The value of the remission that maps to 1: as set, or of a few files of all splits."""
        if self.remission != "auto":
            return float(self.remission)
        return choose_remission_scale(list(self._files("all")), "auto", self.layout)

    def _patterns(self, split: str) -> Iterator[str]:
        entries = self.splits[split] if split != "all" else [p for listed in self.splits.values() for p in listed]
        for entry in entries:
            if not entry.endswith(".txt"):
                yield entry
                continue
            try:
                yield from (self.root / entry).read_text(encoding="utf-8").split("\n")
            except (OSError, ValueError) as error:
                raise UserError(f"{self.root / entry}: data.splits.{split}: cannot be read ({error})") from None

    def _files(self, split: str) -> Iterator[Path]:
        """Yield the clouds that match the patterns of a split, in order, each once; hidden files are passed over."""
        seen: set[Path] = set()
        for pattern in filter(None, map(str.strip, self._patterns(split))):
            found = [path for path in self.root.glob(pattern.lstrip("/")) if path.suffix.lower() in SUFFIXES]
            if not found and not set("*?[") & set(pattern) and not (self.root / pattern).exists():
                raise UserError(f"{self.root / pattern}: data.splits.{split} lists it, and there is no such cloud")
            label_files = {self._label(path) for path in found}
            for path in sorted(found):
                if path not in seen and path not in label_files and not path.name.startswith("."):
                    seen.add(path)
                    yield path

    def _label(self, path: Path) -> Path | None:
        if self.label_field is not None:
            return None
        folder = path.parent.relative_to(self.root).as_posix()
        return self.root / self.labels.format(folder=folder, stem=path.stem)

    def _pair(self, path: Path, labels_needed: bool) -> Pair:
        label = self._label(path)
        if label is not None and not label.is_file():
            if labels_needed:
                raise UserError(
                    f"{label}: no labels of {path}, which training and validation need; write them, set data.labels to "
                    "where they are, or data.label_field to the field of the cloud that holds them"
                )
            label = None
        return Pair(path.relative_to(self.root).with_suffix("").as_posix(), path, label)

    def _check_template(self) -> None:
        try:
            named = Path(self.labels.format(folder="a", stem="b"))
        except (KeyError, IndexError, ValueError, AttributeError):
            named = Path()
        if "{stem}" not in self.labels or named.suffix not in ENDINGS:
            raise UserError(
                f"data.labels={self.labels}: expected a path with {{stem}}, and {{folder}} if need be, that ends with "
                f"one of {', '.join(ENDINGS)}, as {{folder}}/{{stem}}.label"
            )


def field_labels(cloud: Cloud, name: str) -> Int64[np.ndarray, " points"]:
    """Return the field of a cloud as ids.

    Raises:
        UserError: There is no such field, or it holds no whole numbers of 0..65535.
    """
    values = cloud.fields.get(name.lower())
    if values is None:
        raise UserError(f"has no field {name} (data.label_field); found {', '.join(cloud.fields) or 'none'}")
    labels = np.where(np.isfinite(values), values, -1).astype(np.int64)
    if (labels != values).any() or labels.min() < 0 or labels.max() > 0xFFFF:
        raise UserError(f"field {name} (data.label_field) holds other values than whole numbers of 0..65535")
    return labels


class FolderDataModule(ScanDataModule):
    """A folder of clouds; see `FolderReader` for its settings and `ScanDataModule` for the others.

    Raises:
        UserError: A setting is invalid, or there is no label map.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        label_map: str | dict[str, Any] | None = None,
        splits: Mapping[Split, str | Sequence[str] | None] | None = None,
        labels: str = "{folder}/{stem}.label",
        label_field: str | None = None,
        columns: Sequence[str] | None = None,
        format: str | None = None,
        features: Sequence[str] = FEATURES,
        remission: Positive | Literal["auto"] = "auto",
        origin: str | Sequence[float] = "auto",
        **settings: Any,
    ) -> None:
        if label_map is None:
            raise UserError(
                "data.label_map is not set; give the path of a YAML file with the ids, names and colours of your "
                "classes, as data.label_map=classes.yaml; docs/custom.md shows one"
            )
        reader = FolderReader(root, splits, labels, label_field, columns, format, features, remission, origin)
        super().__init__(reader, label_map, **settings)
