"""Translation of a whole scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from clusterseg.data.augment.checks import check_not_negative, check_probability

_KEY = "data.augmentation.translation"


@dataclass(frozen=True)
class RandomTranslation:
    """Move the whole scan by one Gaussian draw for each axis; other channels than x, y, z stay.

    The defaults are Cylinder3D's (standard deviation 0.1 m on each axis).

    Attributes:
        x: Standard deviation along x, metres.
        y: Along y.
        z: Along z: the height of the sensor above the ground.
        probability: Probability that a scan is moved.

    Raises:
        UserError: A negative deviation, or a probability outside [0, 1].

    Examples:
        >>> points = np.array([[0, 0, 0, 0.5], [1, 0, 0, 0.5]], np.float32)
        >>> moved = RandomTranslation(z=0)(points, np.random.default_rng(0))
        >>> np.round(moved[1] - moved[0], 4), moved[:, 2]
        (array([1., 0., 0., 0.], dtype=float32), array([0., 0.], dtype=float32))
    """

    x: float = 0.1
    y: float = 0.1
    z: float = 0.1
    probability: float = 1.0

    def __post_init__(self) -> None:
        for name in ("x", "y", "z"):
            check_not_negative(_KEY, name, getattr(self, name))
        check_probability(_KEY, "probability", self.probability)

    def __call__(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "points channels"]:
        """Return the moved points."""
        moved = points.copy()
        if rng.random() >= self.probability:
            return moved
        moved[:, :3] += (rng.standard_normal(3) * (self.x, self.y, self.z)).astype(np.float32)
        return moved
