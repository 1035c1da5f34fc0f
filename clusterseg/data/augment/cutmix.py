"""Instance cut-mix: paste objects from other scans at plausible places."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from clusterseg.data.augment.checks import check_not_negative, check_positive, check_probability
from clusterseg.data.augment.classes import GROUND, RARE_THINGS, belongs, train_ids
from clusterseg.data.augment.instances import InstanceBank
from clusterseg.data.augment.labelled import Collect, LabelledScan, Mix, join
from clusterseg.data.augment.occlusion import hidden
from clusterseg.data.augment.surroundings import Surroundings
from clusterseg.data.augment.turn import turned, turned_xy
from clusterseg.errors import UserError

logger = logging.getLogger("clusterseg")
_KEY = "data.augmentation.cutmix"


@dataclass(frozen=True)
class InstanceCutMix(Mix):
    """Paste instances of a bank on plausible ground.

    Each instance is rotated about the sensor by a random angle, which preserves its distance, density and visible side,
    and moved vertically until its lowest point stands on the ground. A place without ground or with an obstacle is
    rejected; after some rejections the instance is skipped. After Puy et al., WaffleIron (ICCV 2023), whose code pastes
    at any distance on road, parking or sidewalk and ignores obstacles.

    Attributes:
        bank: The instance bank; None for that of the data set's training scans, see `bound`.
        classes: Classes to paste, with equal probability; those without an instance in the bank are skipped.
        ground: Classes on which an instance may stand.
        fewest: Smallest number of instances to try, drawn uniformly up to `most`.
        most: Largest number.
        attempts: Angles tried for each instance.
        max_shift: Largest vertical move in metres; a larger one would bury an object whose foot was not visible.
        occlude: Whether to remove points of the scan that a pasted instance occludes.
        probability: Probability that anything is pasted into a scan.
        class_names: The name of each train id; a data set's label map fills it in, see `bound`.

    Raises:
        UserError: A number is out of range, or the bank lacks a class; or, when called, a class has an unknown name.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> car = rng.uniform((9, 0.9, -1.7, 1), (11, 1.1, 0, 1), (40, 4)).astype(np.float32)
        >>> bank = InstanceBank(car, np.array([0, 40]), np.array([0]), ("car",))
        >>> road = rng.uniform((-15, -15, -1.7, 1), (15, 15, -1.7, 1), (20000, 4)).astype(np.float32)
        >>> scan = LabelledScan(road, np.ones(20000, np.int64), np.zeros(20000, np.int64))
        >>> mix = InstanceCutMix(bank, ["car"], ["road"], fewest=2, most=2).bound(["car", "road"])
        >>> np.bincount(mix(scan, None, rng).targets)  # the car twice, on the road
        array([   80, 20000])
    """

    bank: InstanceBank | None = None
    classes: Sequence[str] = RARE_THINGS
    ground: Sequence[str] = GROUND
    fewest: int = 5
    most: int = 20
    attempts: int = 10
    max_shift: float = 0.5
    occlude: bool = False
    probability: float = 1.0
    class_names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.fewest <= self.most:
            raise UserError(f"{_KEY}: got fewest={self.fewest}, most={self.most}; expected 0 <= fewest <= most")
        check_positive(_KEY, "attempts", self.attempts)
        check_not_negative(_KEY, "max_shift", self.max_shift)
        check_probability(_KEY, "probability", self.probability)
        if self.bank is not None:
            train_ids(self.classes, self.bank.class_names, f"{_KEY}.classes (in the bank)")

    def bound(self, class_names: Sequence[str], collect: Collect | None = None) -> InstanceCutMix:
        """Return the mix bound to class names and a bank.

        Args:
            class_names: The name of each train id.
            collect: Builds a bank of the classes to paste if none is set.

        Raises:
            UserError: A class to paste or a ground class is unknown, or there is no bank.
        """
        train_ids(self.classes, class_names, f"{_KEY}.classes")
        train_ids(self.ground, class_names, f"{_KEY}.ground")
        bank = self.bank if self.bank is not None or collect is None else collect(self.classes)
        if bank is None:
            raise UserError(
                f"{_KEY}.bank: got none, expected instances to paste; load a file, or let the data collect them"
            )
        if not any(len(bank.of_class(name)) for name in self.classes):
            logger.warning("%s: the bank has no instance of %s; nothing is pasted", _KEY, ", ".join(self.classes))
        return replace(self, bank=bank, class_names=tuple(class_names))

    def __call__(self, scan: LabelledScan, other: LabelledScan | None, rng: np.random.Generator) -> LabelledScan:
        """Return the scan with instances appended to its points; the second scan is not used."""
        if rng.random() >= self.probability:
            return scan
        ground = belongs(scan.targets, train_ids(self.ground, self.class_names, f"{_KEY}.ground"))
        around = Surroundings.of(scan.points, ground)
        things: list[LabelledScan] = []
        for name, instance in self._draw(rng):
            placed = self._place(instance, around, rng)
            if placed is not None:
                around = around.with_things(placed)
                things.append(self._labelled(placed, name))
        if self.occlude and things:
            scan = scan.where(~hidden(scan.points, np.concatenate([thing.points for thing in things])))
        return join([scan, *things])

    def _draw(self, rng: np.random.Generator) -> list[tuple[str, Float32[np.ndarray, "instance_points channels"]]]:
        """Draw the instances to try, with their class names."""
        bank = self.bank
        assert bank is not None  # an unbound mix has already failed without names
        groups = [(name, rows) for name in self.classes if len(rows := bank.of_class(name))]
        count = int(rng.integers(self.fewest, self.most + 1)) if groups else 0
        drawn = [groups[int(rng.integers(len(groups)))] for _ in range(count)]
        return [(name, bank[int(rng.choice(rows))]) for name, rows in drawn]

    def _place(
        self, instance: Float32[np.ndarray, "instance_points channels"], around: Surroundings, rng: np.random.Generator
    ) -> Float32[np.ndarray, "instance_points channels"] | None:
        """Return the instance placed at the first angle where it can stand, or None."""
        angles = rng.uniform(-math.pi, math.pi, self.attempts).tolist()
        heights = around.ground_at(*turned_xy(instance, angles), instance[:, 2])
        for angle, height in zip(angles, heights, strict=True):
            if height is None:
                continue
            shift = height - float(instance[:, 2].min())
            if abs(shift) <= self.max_shift:
                placed = turned(instance, angle)
                placed[:, 2] += np.float32(shift)
                return placed
        return None

    def _labelled(self, points: Float32[np.ndarray, "instance_points channels"], name: str) -> LabelledScan:
        """Return the points as a labelled scan of one instance."""
        target = int(train_ids((name,), self.class_names, f"{_KEY}.classes")[0])
        return LabelledScan(points, np.full(len(points), target), np.ones(len(points), np.int64))
