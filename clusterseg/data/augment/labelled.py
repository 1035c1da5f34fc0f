"""A scan with its labels, and the interface of mixes that change both together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Bool, Float32, Int64

from clusterseg.errors import UserError

if TYPE_CHECKING:
    from clusterseg.data.augment.instances import InstanceBank

#: Builds the instance bank of some classes from the training scans.
Collect: TypeAlias = "Callable[[Sequence[str]], InstanceBank]"


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """Points with their labels.

    Attributes:
        points: x, y, z in metres in the sensor's frame (x forward, y left, z up), remission, and any further channels;
            NaN where a value is not finite.
        targets: Train id of each point, or `IGNORE_INDEX`.
        instances: Instance number of each point within its class, 0 for none.
        subjects: See `clusterseg.data.subjects`; None if nothing asks for them.

    Examples:
        >>> scan = LabelledScan(np.zeros((3, 4), np.float32), np.array([0, 8, 255]), np.array([7, 0, 0]))
        >>> near = scan.where(np.array([True, True, False]))
        >>> len(near), near.targets, near.instances
        (2, array([0, 8]), array([7, 0]))
    """

    points: Float32[np.ndarray, "points channels"]
    targets: Int64[np.ndarray, " points"]
    instances: Int64[np.ndarray, " points"]
    subjects: Int64[np.ndarray, " points"] | None = None

    def __len__(self) -> int:
        return len(self.points)

    def where(self, mask: Bool[np.ndarray, " points"]) -> LabelledScan:
        """Return the points selected by the mask, in order."""
        rows = np.flatnonzero(mask)  # taking rows is several times as fast as a mask on a matrix
        subjects = None if self.subjects is None else self.subjects.take(rows)
        points, targets = self.points.take(rows, axis=0), self.targets.take(rows)
        return LabelledScan(points, targets, self.instances.take(rows), subjects)

    def with_points(self, points: Float32[np.ndarray, "points channels"]) -> LabelledScan:
        """Return a scan with the same labels and moved points."""
        return replace(self, points=points)


def join(scans: Sequence[LabelledScan]) -> LabelledScan:
    """Concatenate scans; instances of different scans get different numbers, subjects stay as they are.

    Args:
        scans: One or more, with the same channels.

    Raises:
        UserError: The scans differ in their channels.

    Examples:
        >>> scan = LabelledScan(np.zeros((2, 4), np.float32), np.array([0, 8]), np.array([1, 0]))
        >>> join([scan, scan]).instances  # two cars, of which each was number 1
        array([1, 0, 2, 0])
    """
    channels = [scan.points.shape[1] for scan in scans]
    if len(set(channels)) > 1:
        raise UserError(
            f"data.augmentation: got scans of {channels} channels to mix; expected the same of each: "
            "take both from one data set"
        )
    numbers, shift, start = np.concatenate([scan.instances for scan in scans]), 0, 0
    for scan in scans:
        part = numbers[start : start + len(scan)]
        np.add(part, shift, out=part, where=part > 0)
        shift, start = int(part.max(initial=shift)), start + len(scan)
    return LabelledScan(
        points=np.concatenate([scan.points for scan in scans]),
        targets=np.concatenate([scan.targets for scan in scans]),
        instances=numbers,
        subjects=_joined_subjects(scans),
    )


def _joined_subjects(scans: Sequence[LabelledScan]) -> Int64[np.ndarray, " points"] | None:
    """Concatenate the subjects; those of a piece without any, as out of an instance bank, are 0."""
    if all(scan.subjects is None for scan in scans):
        return None
    return np.concatenate([np.zeros(len(scan), np.int64) if scan.subjects is None else scan.subjects for scan in scans])


class Mix(ABC):
    """Base class of random changes of points and labels: a pure function of one or two scans and a generator.

    The input scans are never modified. Without a change the scan itself may be returned.

    Examples:
        >>> class Thin(Mix):
        ...     def __call__(self, scan, other, rng):
        ...         return scan.where(np.arange(len(scan)) % 2 == 0)
        >>> scan = LabelledScan(np.zeros((4, 4), np.float32), np.array([0, 8, 8, 255]), np.zeros(4, np.int64))
        >>> Thin()(scan, None, np.random.default_rng(0)).targets
        array([0, 8])
    """

    @property
    def needs_other(self) -> bool:
        """Whether a second scan is needed; otherwise it may be None."""
        return False

    @property
    def joins(self) -> bool:
        """Whether the result may hold both scans whole, and so as many points as both."""
        return False

    def bound(self, class_names: Sequence[str], collect: Collect | None = None) -> Mix:
        """Return the mix bound to a data set.

        Args:
            class_names: The name of each of its train ids.
            collect: Builds a bank from its training scans; called only if needed.

        Raises:
            UserError: A class of the mix is unknown, or a bank is missing.
        """
        return self

    @abstractmethod
    def __call__(self, scan: LabelledScan, other: LabelledScan | None, rng: np.random.Generator) -> LabelledScan:
        """Return the changed scan.

        Args:
            scan: The scan to change.
            other: A second scan of the same channels, or None.
            rng: The source of every random draw.
        """


def second(other: LabelledScan | None, key: str) -> LabelledScan:
    """Return the second scan.

    Raises:
        UserError: There is none.
    """
    if other is None:
        raise UserError(f"{key}: got one scan, expected a second one to mix; give it, or set {key}=null")
    return other
