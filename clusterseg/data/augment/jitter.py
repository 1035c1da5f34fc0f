"""Jitter: random noise on the position of each point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from clusterseg.data.augment.checks import check_not_negative, check_probability

_KEY = "data.augmentation.jitter"


@dataclass(frozen=True)
class RandomJitter:
    """Add Gaussian noise to x, y and z of each point, clipped; other channels stay.

    The defaults are Pointcept's for outdoor scans (configs `semantic_kitti/*`: sigma 0.005, clip 0.02).

    Attributes:
        sigma: Standard deviation of each axis, metres.
        clip: Largest move along an axis, metres.
        probability: Probability that a scan is jittered.

    Raises:
        UserError: A negative sigma or clip, or a probability outside [0, 1].

    Examples:
        >>> points = np.zeros((100, 4), np.float32)
        >>> moved = RandomJitter(sigma=0.1, clip=0.05)(points, np.random.default_rng(0))
        >>> round(float(np.abs(moved[:, :3]).max()), 6), float(moved[:, 3].max())
        (0.05, 0.0)
    """

    sigma: float = 0.005
    clip: float = 0.02
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative(_KEY, "sigma", self.sigma)
        check_not_negative(_KEY, "clip", self.clip)
        check_probability(_KEY, "probability", self.probability)

    def __call__(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "points channels"]:
        """Return the moved points."""
        moved = points.copy()
        if rng.random() >= self.probability:
            return moved
        noise = rng.standard_normal((len(points), 3), dtype=np.float32)
        noise *= np.float32(self.sigma)
        moved[:, :3] += noise.clip(-self.clip, self.clip, out=noise)
        return moved
