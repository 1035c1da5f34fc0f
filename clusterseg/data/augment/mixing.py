"""Mixes of two scans: LaserMix, PolarMix, Mix3D, and a random choice among them.

Points are moved with their labels; both scans share the sensor's position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int8

from clusterseg.data.augment.checks import check_probability
from clusterseg.data.augment.classes import THINGS, belongs, train_ids
from clusterseg.data.augment.labelled import Collect, LabelledScan, Mix, join, second
from clusterseg.data.augment.turn import turned
from clusterseg.data.transforms import Transform
from clusterseg.errors import UserError

_KEY = "data.augmentation"


@dataclass(frozen=True)
class LaserMix(Mix):
    """Cut both scans into strips of inclination and alternate between them, the top strip from the first scan.

    Source: Kong et al., LaserMix for semi-supervised lidar semantic segmentation (CVPR 2023), section 3; the numbers
    are mmdetection3d's (`*-laser-polar-mix-3x_semantickitti`). What lies above or below the range belongs to the
    outermost strips.

    Attributes:
        num_areas: Numbers of strips, drawn with equal probability.
        inclinations: Lower and upper end of the range that the strips divide evenly, degrees above the horizon.
        probability: Probability that a scan is mixed.

    Raises:
        UserError: Fewer than 2 strips, not -90 < lower < upper < 90, or a probability outside [0, 1].

    Examples:
        >>> points = np.array([[10, 0, 0, 0.5], [10, 0, -4, 0.5], [-10, 5, 0, 0.5], [-10, 5, -4, 0.5]], np.float32)
        >>> scan = LabelledScan(points, np.array([1, 1, 1, 1]), np.zeros(4, np.int64))
        >>> other = LabelledScan(points, np.array([2, 2, 2, 2]), np.zeros(4, np.int64))
        >>> mixed = LaserMix(num_areas=[2])(scan, other, np.random.default_rng(0))
        >>> mixed.points[:, 2], mixed.targets  # the upper strip of the first, the lower one of the other
        (array([ 0.,  0., -4., -4.], dtype=float32), array([1, 1, 2, 2]))
    """

    num_areas: Sequence[int] = (3, 4, 5, 6)
    inclinations: Sequence[float] = (-25.0, 3.0)
    probability: float = 1.0

    def __post_init__(self) -> None:
        key, low_high = f"{_KEY}.lasermix", tuple(self.inclinations)
        if not self.num_areas or min(self.num_areas) < 2:
            raise UserError(f"{key}.num_areas: got {list(self.num_areas)}; expected numbers of 2 strips or more")
        if len(low_high) != 2 or not -90 < low_high[0] < low_high[1] < 90:
            raise UserError(f"{key}.inclinations: got {list(low_high)}; expected two angles, -90 < lower < upper < 90")
        check_probability(key, "probability", self.probability)

    @property
    def needs_other(self) -> bool:
        """A second scan is needed, unless the probability is 0."""
        return self.probability > 0

    def __call__(self, scan: LabelledScan, other: LabelledScan | None, rng: np.random.Generator) -> LabelledScan:
        """Return the mixed scan: strips of the first scan, then those of the second."""
        if rng.random() >= self.probability:
            return scan
        other = second(other, f"{_KEY}.lasermix")
        count = int(rng.choice(np.asarray(self.num_areas)))
        borders = np.linspace(self.inclinations[1], self.inclinations[0], count + 1)[1:-1]
        from_scan = _strip(scan.points, borders) % 2 == 0
        from_other = _strip(other.points, borders) % 2 == 1
        return join([scan.where(from_scan), other.where(from_other)])


@dataclass(frozen=True)
class PolarMix(Mix):
    """Swap a half turn of the scan with that of another, and paste the other's objects at three angles.

    Source: Xiao et al., PolarMix (NeurIPS 2022), section 3; the numbers are mmdetection3d's. The half turn
    starts at any azimuth (theirs always contains the forward axis). Objects are pasted unrotated, rotated by an angle
    from the first third of the circle, and by one from the second.

    Attributes:
        classes: Names of the classes to paste.
        swap: Probability of the swap.
        paste: Probability of the pasting.
        class_names: The name of each train id; a data set's label map fills it in, see `bound`.

    Raises:
        UserError: A probability lies outside [0, 1]; or, when called, a class is unknown.

    Examples:
        >>> points = np.array([[10, 0, 0, 0.5], [10, 0, -4, 0.5], [-10, 5, 0, 0.5], [-10, 5, -4, 0.5]], np.float32)
        >>> scan = LabelledScan(points, np.array([1, 1, 1, 1]), np.zeros(4, np.int64))
        >>> other = LabelledScan(points, np.array([2, 2, 2, 2]), np.zeros(4, np.int64))
        >>> mix = PolarMix(classes=["person"], swap=0).bound(["car", "road", "person"])
        >>> mix(scan, other, np.random.default_rng(0)).targets  # the other's persons at three angles
        array([1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    """

    classes: Sequence[str] = THINGS
    swap: float = 0.5
    paste: float = 1.0
    class_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_probability(f"{_KEY}.polarmix", "swap", self.swap)
        check_probability(f"{_KEY}.polarmix", "paste", self.paste)

    @property
    def needs_other(self) -> bool:
        """A second scan is needed, unless both probabilities are 0."""
        return self.swap > 0 or self.paste > 0

    def bound(self, class_names: Sequence[str], collect: Collect | None = None) -> PolarMix:
        """Return the mix bound to class names; no bank is needed.

        Raises:
            UserError: A class to paste is unknown.
        """
        train_ids(self.classes, class_names, f"{_KEY}.polarmix.classes")
        return replace(self, class_names=tuple(class_names))

    def __call__(self, scan: LabelledScan, other: LabelledScan | None, rng: np.random.Generator) -> LabelledScan:
        """Return the mixed scan: the rest of the scan, the other's half turn, the objects at each angle."""
        swaps, pastes = rng.random(2) < (self.swap, self.paste)
        if not (swaps or pastes):
            return scan
        other = second(other, f"{_KEY}.polarmix")
        pieces = [scan]
        if swaps:
            start = rng.uniform(-math.pi, math.pi)
            pieces = [scan.where(~_in_half_turn(scan.points, start)), other.where(_in_half_turn(other.points, start))]
        if pastes:
            ids = train_ids(self.classes, self.class_names, f"{_KEY}.polarmix.classes")
            things = other.where(belongs(other.targets, ids))
            angles = rng.uniform((0, 2 * math.pi / 3), (2 * math.pi / 3, 4 * math.pi / 3)).tolist()
            pieces += [things, *(things.with_points(turned(things.points, angle)) for angle in angles)]
        return join(pieces)


@dataclass(frozen=True)
class Mix3D(Mix):
    """Overlay both scans.

    Source: Nekrasov et al., Mix3D (3DV 2021), section 3: each scene is augmented on its own, then the two are joined.
    They centre each scene; here both already share the sensor's frame.

    Attributes:
        probability: Probability that a scan is mixed.
        transforms: Applied to the second scan alone, in this order.

    Raises:
        UserError: The probability lies outside [0, 1].

    Examples:
        >>> points = np.array([[10, 0, 0, 0.5], [10, 0, -4, 0.5], [-10, 5, 0, 0.5], [-10, 5, -4, 0.5]], np.float32)
        >>> scan = LabelledScan(points, np.array([1, 1, 1, 1]), np.zeros(4, np.int64))
        >>> other = LabelledScan(points, np.array([2, 2, 2, 2]), np.zeros(4, np.int64))
        >>> Mix3D()(scan, other, np.random.default_rng(0)).targets
        array([1, 1, 1, 1, 2, 2, 2, 2])
    """

    probability: float = 1.0
    transforms: Sequence[Transform] = ()

    def __post_init__(self) -> None:
        check_probability(f"{_KEY}.mix3d", "probability", self.probability)

    @property
    def needs_other(self) -> bool:
        """A second scan is needed, unless the probability is 0."""
        return self.probability > 0

    @property
    def joins(self) -> bool:
        """Both scans are there whole, unless the probability is 0."""
        return self.probability > 0

    def __call__(self, scan: LabelledScan, other: LabelledScan | None, rng: np.random.Generator) -> LabelledScan:
        """Return the points of the scan, then those of the other."""
        if rng.random() >= self.probability:
            return scan
        other = second(other, f"{_KEY}.mix3d")
        points = other.points
        for transform in self.transforms:
            points = transform(points, rng)
        return join([scan, other.with_points(points)])


@dataclass(frozen=True)
class OneOf(Mix):
    """Apply one of several mixes, drawn for each scan.

    Attributes:
        mixes: The mixes to choose from.
        weights: Relative probabilities; None for equal ones.

    Raises:
        UserError: No mix, or the weights do not fit the mixes, are negative or all 0.

    Examples:
        >>> mix = OneOf([LaserMix(), Mix3D()], weights=[3, 1])
        >>> mix.needs_other, OneOf([LaserMix(probability=0)]).needs_other
        (True, False)
    """

    mixes: Sequence[Mix]
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        weights = [1.0] * len(self.mixes) if self.weights is None else list(self.weights)
        if not self.mixes or len(weights) != len(self.mixes) or min(weights) < 0 or sum(weights) <= 0:
            raise UserError(
                f"{_KEY}.one_of: got {len(self.mixes)} mixes and weights {weights}; "
                "expected one or more mixes and one weight each, not negative and not all 0"
            )

    @property
    def needs_other(self) -> bool:
        """A second scan is needed if one of the mixes needs it."""
        return any(mix.needs_other for mix in self.mixes)

    @property
    def joins(self) -> bool:
        """Whether one of them may join two scans whole."""
        return any(mix.joins for mix in self.mixes)

    def bound(self, class_names: Sequence[str], collect: Collect | None = None) -> OneOf:
        """Return the choice with each mix bound, see `Mix.bound`."""
        return replace(self, mixes=[mix.bound(class_names, collect) for mix in self.mixes])

    def __call__(self, scan: LabelledScan, other: LabelledScan | None, rng: np.random.Generator) -> LabelledScan:
        """Return the result of the drawn mix."""
        weights = np.ones(len(self.mixes)) if self.weights is None else np.asarray(self.weights, np.float64)
        chosen = self.mixes[int(rng.choice(len(self.mixes), p=weights / weights.sum()))]
        return chosen(scan, other, rng)


def _strip(points: Float32[np.ndarray, "points channels"], borders: np.ndarray) -> Int8[np.ndarray, " points"]:
    """Return the strip of each point: 0 above the first border (degrees, descending), one more below each.

    z <= tan(border) * distance is equivalent to inclination <= border, without an arctan per point.
    A point that is not finite is in strip 0.
    """
    x, y, z = points[:, :3].T.astype(np.float64)
    distance = np.sqrt(x * x + y * y)
    strip, limit = np.zeros(len(points), np.int8), np.empty_like(distance)
    for slope in np.tan(np.radians(borders)):
        strip += z <= np.multiply(distance, slope, out=limit)
    return strip


def _in_half_turn(points: Float32[np.ndarray, "points channels"], start: float) -> Bool[np.ndarray, " points"]:
    """Return a mask of the points within half a turn, counter-clockwise, from the azimuth `start` in radians."""
    x, y = points[:, :2].T.astype(np.float64)
    return math.cos(start) * y - math.sin(start) * x > 0
