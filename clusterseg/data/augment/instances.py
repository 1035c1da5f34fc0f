"""The instance bank: the points of single objects, cut from training scans."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from clusterseg.data.augment.classes import THINGS, belongs, train_ids
from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.errors import UserError
from clusterseg.files import replacing

_KEY = "data.augmentation.cutmix.bank"
_ARRAYS = ("points", "starts", "classes", "class_names")


@dataclass(frozen=True, eq=False)
class InstanceBank:
    """Instances by class, each at its original position.

    Attributes:
        points: x, y, z in metres in the frame of the sensor that saw them, remission and further channels; the
            instances lie one after another.
        starts: First row of each instance, and the number of rows at the end.
        classes: Index into `class_names` of each instance.
        class_names: Names of the stored classes; a class may have no instance.

    Examples:
        >>> points = np.random.default_rng(0).random((40, 4), np.float32)
        >>> scan = LabelledScan(points, np.zeros(40, np.int64), np.ones(40, np.int64))
        >>> bank = InstanceBank.build([scan], ["car", "road"], classes=["car"])
        >>> len(bank), bank[0].shape, bank.of_class("car")
        (1, (40, 4), array([0]))
    """

    points: Float32[np.ndarray, "points channels"]
    starts: Int64[np.ndarray, " instances_and_end"]
    classes: Int64[np.ndarray, " instances"]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: int | np.integer) -> Float32[np.ndarray, "instance_points channels"]:
        """Return the points of an instance."""
        return self.points[self.starts[index] : self.starts[index + 1]]

    def of_class(self, name: str) -> Int64[np.ndarray, " of_class"]:
        """Return the indices of the instances of a class."""
        return np.flatnonzero(self.classes == self.class_names.index(name))

    @classmethod
    def build(
        cls,
        scans: Iterable[LabelledScan],
        class_names: Sequence[str],
        *,
        classes: Sequence[str] = THINGS,
        min_points: int = 30,
        max_per_class: int = 500,
        seed: int = 0,
    ) -> InstanceBank:
        """Collect instances; if a class has too many, a uniform random sample is stored.

        Args:
            scans: Training scans, read one after another.
            class_names: The name of each train id of the scans.
            classes: Names of the classes to collect.
            min_points: Instances with fewer finite points are skipped.
            max_per_class: Maximum number of instances of each class.
            seed: Seed of the sample; seed and order of the scans determine the result.

        Raises:
            UserError: A class is unknown, or a number is below 1.
        """
        for name, value in (("min_points", min_points), ("max_per_class", max_per_class)):
            if value < 1:
                raise UserError(f"{_KEY}.{name}: got {value}; expected 1 or more")
        ids = train_ids(classes, class_names, f"{_KEY}.classes").tolist()
        rng = np.random.default_rng([seed, 0xBA4C])
        sampled: list[list[np.ndarray]] = [[] for _ in ids]
        seen = [0] * len(ids)
        channels = 4
        for scan in scans:
            channels = scan.points.shape[1]
            for target, points in _cut(scan, np.array(ids, np.int64), min_points):
                place = ids.index(target)
                _offer(sampled[place], points, seen[place], max_per_class, rng)
                seen[place] += 1
        return _bank(sampled, tuple(classes), channels)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the bank atomically as an `.npz` file of plain arrays.

        Raises:
            UserError: The file cannot be written.
        """
        with replacing(Path(path)) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                points=self.points,
                starts=self.starts,
                classes=self.classes,
                class_names=np.array(self.class_names, np.str_),
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> InstanceBank:
        """Read a bank written by `save`; nothing in the file is executed.

        Raises:
            UserError: There is no such file, or it is no bank.
        """
        try:
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                points, starts, classes, names = (arrays[name] for name in _ARRAYS)
        except FileNotFoundError:
            raise UserError(
                f"{path}: no such file; {_KEY} names it: build the bank first, or correct the path"
            ) from None
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{path}: no bank of instances ({error}); expected an .npz file of {', '.join(_ARRAYS)}: build it again"
            ) from error
        bank = cls(points.astype(np.float32), starts.astype(np.int64), classes.astype(np.int64), tuple(names.tolist()))
        _check(path, bank)
        return bank


def _cut(
    scan: LabelledScan, ids: Int64[np.ndarray, " chosen"], min_points: int
) -> Iterator[tuple[int, Float32[np.ndarray, "instance_points channels"]]]:
    """Yield (train id, points) of each instance of the classes, in ascending order of train id and number."""
    rows = np.flatnonzero(belongs(scan.targets, ids) & (scan.instances > 0) & np.isfinite(scan.points).all(axis=1))
    order = rows[np.lexsort((scan.instances[rows], scan.targets[rows]))]
    targets, numbers = scan.targets[order], scan.instances[order]
    changes = np.flatnonzero((np.diff(targets) != 0) | (np.diff(numbers) != 0)) + 1
    for part in np.split(order, changes):
        if len(part) >= min_points:
            yield int(scan.targets[part[0]]), scan.points[part]


def _offer(sampled: list[np.ndarray], points: np.ndarray, seen: int, limit: int, rng: np.random.Generator) -> None:
    """Add an instance by reservoir sampling (Vitter 1985, algorithm R)."""
    if len(sampled) < limit:
        sampled.append(points)
        return
    place = int(rng.integers(seen + 1))
    if place < limit:
        sampled[place] = points


def _bank(sampled: Sequence[Sequence[np.ndarray]], class_names: tuple[str, ...], channels: int) -> InstanceBank:
    instances = [points for of_class in sampled for points in of_class]
    return InstanceBank(
        points=np.concatenate([np.empty((0, channels), np.float32), *instances]),
        starts=np.cumsum([0, *(len(points) for points in instances)], dtype=np.int64),
        classes=np.repeat(np.arange(len(sampled)), [len(of_class) for of_class in sampled]),
        class_names=class_names,
    )


def _check(path: str | os.PathLike[str], bank: InstanceBank) -> None:
    """Raise a `UserError` if the arrays of a file are inconsistent."""
    if (bank.points.ndim, bank.starts.ndim, bank.classes.ndim) != (2, 1, 1):
        raise UserError(f"{path}: the arrays of this bank of instances have the wrong dimensions; build it again")
    ends_fit = len(bank.starts) == len(bank) + 1 and bank.starts[0] == 0 and bank.starts[-1] == len(bank.points)
    classes_fit = not len(bank) or 0 <= bank.classes.min() <= bank.classes.max() < len(bank.class_names)
    if not (ends_fit and (np.diff(bank.starts) > 0).all() and classes_fit):
        raise UserError(f"{path}: the arrays of this bank of instances do not fit each other; build it again")
