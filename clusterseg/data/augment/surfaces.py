"""Random surfaces: heights of the ground and remission, one draw for each class of a scan."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float32

from clusterseg.data.augment.checks import check_probability
from clusterseg.data.augment.classes import train_ids
from clusterseg.data.augment.labelled import Collect, LabelledScan, Mix
from clusterseg.data.label_map import IGNORE_INDEX
from clusterseg.errors import UserError

_KEY = "data.augmentation.surfaces"
_IDS = IGNORE_INDEX + 1
_Z, _REMISSION = 2, 3
Bounds = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class RandomSurfaces(Mix):
    """Raise or lower classes, and scale their remission: one draw for each class and scan.

    For scans whose surfaces are all alike, as generated ones: kerbs of one height, one paint. Every point of a
    class moves by the same height; what stands on it stays.

    Attributes:
        height: Lowest and highest shift of a class along z, metres, drawn uniformly.
        gain: Smallest and largest factor on the remission of a class, drawn log-uniformly; the result is clipped to 1.
        probability: Probability that a scan is changed.
        class_names: The name of each train id; a data set's label map fills it in, see `bound`.

    Raises:
        UserError: Bounds that are not two numbers in order, a factor of 0 or less, or a probability outside [0, 1];
            or, when bound, a class is unknown.

    Examples:
        >>> points = np.array([[5, 0, -1.7, 0.5], [5, 3, -1.6, 0.5]], np.float32)
        >>> scan = LabelledScan(points, np.array([0, 1]), np.zeros(2, np.int64))
        >>> mix = RandomSurfaces(height={"sidewalk": [-0.1, -0.1]}, gain={"road": [0.5, 0.5]})
        >>> mix.bound(["road", "sidewalk"])(scan, None, np.random.default_rng(0)).points[:, 2:]
        array([[-1.7 ,  0.25],
               [-1.7 ,  0.5 ]], dtype=float32)
    """

    height: Bounds = field(default_factory=dict)
    gain: Bounds = field(default_factory=dict)
    probability: float = 1.0
    class_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, bounds, least in (("height", self.height, -math.inf), ("gain", self.gain, 0.0)):
            for each, pair in bounds.items():
                if len(pair) != 2 or not least < pair[0] <= pair[1] < math.inf:
                    floor = " above 0" if least == 0 else ""
                    raise UserError(
                        f"{_KEY}.{name}.{each}: got {list(pair)}; expected two numbers{floor}, the smaller one first"
                    )
        check_probability(_KEY, "probability", self.probability)

    def bound(self, class_names: Sequence[str], collect: Collect | None = None) -> RandomSurfaces:
        """Return the change for a data set's classes.

        Raises:
            UserError: A class is unknown.
        """
        for name, bounds in (("height", self.height), ("gain", self.gain)):
            train_ids(list(bounds), class_names, f"{_KEY}.{name}")
        return replace(self, class_names=tuple(class_names))

    def __call__(self, scan: LabelledScan, other: LabelledScan | None, rng: np.random.Generator) -> LabelledScan:
        """Return the scan with other surfaces; points that are ignored, and further channels, stay."""
        if rng.random() >= self.probability:
            return scan
        points = scan.points.copy()
        points[:, _Z] += self._drawn("height", self.height, rng).take(scan.targets)
        exponents = {name: np.log(bounds).tolist() for name, bounds in self.gain.items()}
        gain = np.exp(self._drawn("gain", exponents, rng)).take(scan.targets)
        scaled = np.minimum(points[:, _REMISSION] * gain, 1)
        points[:, _REMISSION] = np.where(gain == 1, points[:, _REMISSION], scaled)
        return scan.with_points(points)

    def _drawn(self, name: str, bounds: Bounds, rng: np.random.Generator) -> Float32[np.ndarray, " ids"]:
        """Draw a value for each class that has bounds; 0 for the other train ids."""
        values = np.zeros(_IDS, np.float32)
        ids = train_ids(list(bounds), self.class_names, f"{_KEY}.{name}")
        for each, (low, high) in zip(ids, bounds.values(), strict=True):
            values[each] = rng.uniform(low, high)
        return values
