"""Instance cut-mix: things from other scans, pasted where they could stand."""

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
from clusterseg.data.augment.turn import turned
from clusterseg.errors import UserError

logger = logging.getLogger("clusterseg")
_KEY = "data.augmentation.cutmix"


@dataclass(frozen=True)
class InstanceCutMix(Mix):
    """Paste instances of a bank on plausible ground.

    Each is turned about the sensor by a random angle, so that it keeps its distance, its density and the side that the
    sensor sees, and moved up or down until its lowest point stands on the ground of that spot. A spot without ground,
    or where something stands already, is refused; after some refusals the instance is left out. After Puy et al.,
    WaffleIron (ICCV 2023), whose code pastes at any distance on road, parking or sidewalk and looks at no obstacle.

    Attributes:
        bank: The instances; None for those of the data set's training scans, see `bound`.
        classes: Classes to paste, each as likely as any other; those without an instance in the bank are passed over.
        ground: Classes that a thing may stand on.
        fewest: Smallest number of instances to try, drawn uniformly up to `most`.
        most: Largest number.
        attempts: Angles tried for each instance.
        max_shift: Largest move up or down, metres: more would bury a thing whose foot its sensor did not see.
        occlude: Whether points of the scan that a pasted thing hides from the sensor leave it.
        probability: Probability that anything is pasted into a scan.
        class_names: The name of each train id; a data set's label map fills it in, see `bound`.

    Raises:
        UserError: A number out of its range, or a class that the bank does not have; or, when called, one that is not
            among the names.
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
        """Return the mix for train ids of these names, with a bank.

        Args:
            class_names: The name of each train id.
            collect: Makes a bank of the classes to paste where none is set.

        Raises:
            UserError: A class to paste or a ground is not among the names, or there is no bank.
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
        """Return the scan with instances behind its own points; the second scan is not looked at."""
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
        """Draw the instances to try, with the names of their classes."""
        bank = self.bank
        assert bank is not None  # an unbound mix has failed before, for want of names
        groups = [(name, rows) for name in self.classes if len(rows := bank.of_class(name))]
        count = int(rng.integers(self.fewest, self.most + 1)) if groups else 0
        drawn = [groups[int(rng.integers(len(groups)))] for _ in range(count)]
        return [(name, bank[int(rng.choice(rows))]) for name, rows in drawn]

    def _place(
        self, instance: Float32[np.ndarray, "instance_points channels"], around: Surroundings, rng: np.random.Generator
    ) -> Float32[np.ndarray, "instance_points channels"] | None:
        """Return the instance on the ground at the first angle where it can stand, or None."""
        for angle in rng.uniform(-math.pi, math.pi, self.attempts).tolist():
            placed = turned(instance, angle)
            height = around.ground_under(placed)
            if height is None:
                continue
            shift = height - float(placed[:, 2].min())
            if abs(shift) <= self.max_shift:
                placed[:, 2] += np.float32(shift)
                return placed
        return None

    def _labelled(self, points: Float32[np.ndarray, "instance_points channels"], name: str) -> LabelledScan:
        """Return the points as a scan of one instance."""
        target = int(train_ids((name,), self.class_names, f"{_KEY}.classes")[0])
        return LabelledScan(points, np.full(len(points), target), np.ones(len(points), np.int64))
