"""Random remission: other lidars, other surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from clusterseg.data.augment.checks import check_not_negative, check_probability
from clusterseg.errors import UserError

_KEY = "data.augmentation.remission"
_REMISSION = 3


@dataclass(frozen=True)
class RandomRemission:
    """Bend, scale, fade and blur the remission of a scan, or take it away, as another sensor would.

    Remission is the channel that differs most between sensors, and between generated and real scans: a network that
    has seen many curves of it does not lean on one. The new value is
    `clip(gain * r ** gamma - fade * max(0, distance - fade_from) + noise, 0, 1)`, with `gamma` and `gain` drawn
    log-uniformly and `fade` uniformly for a scan, and `noise` for a point.

    Attributes:
        gamma: Largest exponent, at least 1; the smallest is `1 / gamma`.
        gain: Largest factor, at least 1; the smallest is `1 / gain`.
        noise: Standard deviation of the noise of a point, in units of remission.
        fade: Largest loss of remission for each metre beyond `fade_from`; the smallest is 0. A lidar that corrects
            for distance only up to some metres reads less and less behind them, at last 0.
        fade_from: Distance from the sensor up to which nothing fades, metres.
        absent: Probability that every remission of a scan becomes 0.
        probability: Probability that a scan is changed at all.

    Raises:
        UserError: A negative value, or a probability outside [0, 1].

    Examples:
        >>> points = np.array([[1, 2, 0, 0.25]], np.float32)
        >>> RandomRemission(absent=1.0)(points, np.random.default_rng(0))
        array([[1., 2., 0., 0.]], dtype=float32)
    """

    gamma: float = 2.0
    gain: float = 1.5
    noise: float = 0.02
    absent: float = 0.2
    probability: float = 1.0
    fade: float = 0.0
    fade_from: float = 20.0

    def __post_init__(self) -> None:
        for name, value in (("gamma", self.gamma), ("gain", self.gain)):
            if not value >= 1:
                raise UserError(f"{_KEY}.{name}: got {value}; expected 1 or more: values lie between 1 / {name} and it")
        for name in ("noise", "fade", "fade_from"):
            check_not_negative(_KEY, name, getattr(self, name))
        check_probability(_KEY, "absent", self.absent)
        check_probability(_KEY, "probability", self.probability)

    def __call__(
        self, points: Float32[np.ndarray, "points channels"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "points channels"]:
        """Return the points with another remission (channel 3); other channels stay."""
        changed = points.copy()
        if rng.random() >= self.probability:
            return changed
        gamma, gain = self._between(self.gamma, rng), self._between(self.gain, rng)
        if rng.random() < self.absent:
            changed[:, _REMISSION] = 0
            return changed
        noise = np.float32(self.noise) * rng.standard_normal(len(points), dtype=np.float32)
        bent = np.float32(gain) * points[:, _REMISSION].clip(0, 1) ** np.float32(gamma) + noise
        if self.fade > 0:
            distance = np.linalg.norm(points[:, :3], axis=1)
            bent -= np.float32(rng.uniform(0, self.fade)) * (distance - np.float32(self.fade_from)).clip(0, None)
        changed[:, _REMISSION] = bent.clip(0, 1)
        return changed

    @staticmethod
    def _between(most: float, rng: np.random.Generator) -> float:
        """Log-uniform in [1 / most, most]."""
        return float(most ** rng.uniform(-1, 1))
