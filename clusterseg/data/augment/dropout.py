"""Dropout: remove points, whole beams, or far points from the scan, with their labels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from clusterseg.data.augment.beams import beams_of
from clusterseg.data.augment.checks import check_positive, check_probability, check_share
from clusterseg.data.augment.labelled import LabelledScan, Mix
from clusterseg.errors import UserError

_KEY = "data.augmentation"


class Dropout(Mix):
    """Base class of mixes that select points of the scan in order and change none.

    Examples:
        >>> class NoReturns(Dropout):
        ...     probability = 1.0
        ...
        ...     def keep(self, points, rng):
        ...         return points[:, 3] > 0
        >>> scan = LabelledScan(np.eye(4, dtype=np.float32), np.array([0, 1, 2, 3]), np.zeros(4, np.int64))
        >>> NoReturns()(scan, None, np.random.default_rng(0)).targets
        array([3])
    """

    probability: float

    @abstractmethod
    def keep(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator
    ) -> Bool[np.ndarray, " points"]:
        """Return a mask of the points that stay: x, y, z in metres in the sensor's frame."""

    def __call__(self, scan: LabelledScan, other: LabelledScan | None, rng: np.random.Generator) -> LabelledScan:
        """Return the remaining scan; the second scan is not used."""
        if rng.random() >= self.probability:
            return scan
        return scan.where(self.keep(scan.points, rng))


@dataclass(frozen=True)
class PointDropout(Dropout):
    """Drop random points; their share is drawn uniformly from [0, max_share].

    Attributes:
        max_share: Largest share of the points to drop.
        probability: Probability that points of a scan are dropped at all.

    Raises:
        UserError: A share outside [0, 1), or a probability outside [0, 1].

    Examples:
        >>> scan = LabelledScan(np.zeros((100, 4), np.float32), np.zeros(100, np.int64), np.zeros(100, np.int64))
        >>> 50 < len(PointDropout(max_share=0.5)(scan, None, np.random.default_rng(0))) <= 100
        True
    """

    max_share: float = 0.2
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_share(f"{_KEY}.point_dropout", "max_share", self.max_share)
        check_probability(f"{_KEY}.point_dropout", "probability", self.probability)

    def keep(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator
    ) -> Bool[np.ndarray, " points"]:
        """Say which points stay."""
        return _all_but(len(points), self.max_share, rng)


@dataclass(frozen=True)
class BeamDropout(Dropout):
    """Drop random whole beams; their share is drawn uniformly from [0, max_share].

    `beams_of` recovers the beams and needs an unrotated scan, so apply this before any rotation.

    Attributes:
        max_share: Largest share of the beams to drop.
        spacing: Degrees of inclination that form one beam if the order of the points does not show the beams.
        probability: Probability that beams of a scan are dropped at all.

    Raises:
        UserError: A share outside [0, 1), a spacing of 0 or less, or a probability outside [0, 1].

    Examples:
        >>> angle = np.radians(np.repeat(np.arange(-8, 0), 10))  # eight beams, a degree apart
        >>> points = np.c_[10 * np.cos(angle), np.zeros(80), 10 * np.sin(angle), np.ones(80)].astype(np.float32)
        >>> scan = LabelledScan(points, np.zeros(80, np.int64), np.zeros(80, np.int64))
        >>> kept = BeamDropout(max_share=0.9)(scan, None, np.random.default_rng(0))
        >>> np.unique(kept.points[:, 2], return_counts=True)[1]  # one beam is gone
        array([10, 10, 10, 10, 10, 10, 10])
    """

    max_share: float = 0.5
    spacing: float = 0.4
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_share(f"{_KEY}.beam_dropout", "max_share", self.max_share)
        check_positive(f"{_KEY}.beam_dropout", "spacing", self.spacing)
        check_probability(f"{_KEY}.beam_dropout", "probability", self.probability)

    def keep(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator
    ) -> Bool[np.ndarray, " points"]:
        """Say which points stay."""
        beam = beams_of(points, self.spacing)
        used = np.flatnonzero(np.bincount(beam))
        stays = np.zeros(beam.max(initial=0) + 1, bool)
        stays[used] = _all_but(len(used), self.max_share, rng)
        return stays.take(beam)


@dataclass(frozen=True)
class RangeDropout(Dropout):
    """Drop points beyond a distance drawn uniformly from [nearest, farthest], like a weaker sensor.

    If no point would remain, the whole scan stays.

    Attributes:
        nearest: Smallest distance drawn, metres from the sensor.
        farthest: Largest one.
        probability: Probability that points of a scan are dropped at all.

    Raises:
        UserError: Not 0 < nearest <= farthest, or a probability outside [0, 1].

    Examples:
        >>> points = np.array([[5, 0, 0, 0.5], [90, 0, 0, 0.5]], np.float32)
        >>> scan = LabelledScan(points, np.array([0, 8]), np.zeros(2, np.int64))
        >>> RangeDropout(nearest=30, farthest=80)(scan, None, np.random.default_rng(0)).targets
        array([0])
    """

    nearest: float = 30.0
    farthest: float = 80.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.nearest <= self.farthest:
            raise UserError(
                f"{_KEY}.range_dropout: got nearest={self.nearest}, farthest={self.farthest}; "
                "expected 0 < nearest <= farthest, in metres"
            )
        check_probability(f"{_KEY}.range_dropout", "probability", self.probability)

    def keep(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator
    ) -> Bool[np.ndarray, " points"]:
        """Return a mask of the points that stay; points that are not finite are dropped."""
        limit = rng.uniform(self.nearest, self.farthest)
        xyz = points[:, :3].astype(np.float64)
        near = np.einsum("pc,pc->p", xyz, xyz) <= limit**2
        return near if near.any() else np.ones(len(points), bool)


def _all_but(count: int, max_share: float, rng: np.random.Generator) -> Bool[np.ndarray, " count"]:
    """Return a mask that drops a share of `count` entries, rounded down, so that at least one stays."""
    dropped = int(rng.uniform(0, max_share) * count)
    stays = np.ones(count, bool)
    stays[rng.choice(count, dropped, replace=False, shuffle=False)] = False
    return stays
