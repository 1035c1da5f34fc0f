"""Fog: what lies behind it is dimmed, and its own return wins where that is the stronger one."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float64

from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.corrupt.kind import About, ranges
from clusterseg.data.label_map import IGNORE_INDEX

_LIGHT = 299_792_458.0  # metres per second
_PULSE = 20e-9  # half-power width of a pulse, seconds
_OVERLAP = (0.9, 1.0)  # metres: where the receiver starts to see the beam, and where it sees all of it
_TARGET = 1e-6 / np.pi  # differential reflectivity of a hard target
_DENSITY = (0.0, 0.005, 0.01, 0.02, 0.03, 0.06)  # attenuation of the fogs to draw from, per metre
_SCATTER = (0.008, 0.05, 0.2)  # backscattering at each severity, per metre and steradian
_SPREAD = 10.0  # metres: how far a fog point's distance varies
_STEP, _FARTHEST = 0.1, 200.0  # metres: the table of the fog's return


def fog(scan: LabelledScan, rng: np.random.Generator, severity: int, about: About) -> LabelledScan:
    """Dim each point, and replace it by a near one of fog, ignored, where the fog returns more.

    Source: Hahner et al., Fog simulation on real lidar point clouds (ICCV 2021), sections 3 and 4, with the numbers of
    ldkong1205/Robo3D (`fog_simulation.py`): one of six densities for each scan, and a backscatter for each severity.

    Raises:
        UserError: The points have no remission.
    """
    column = about.remission("fog")
    alpha = float(rng.choice(_DENSITY))
    spread = rng.uniform(-_SPREAD, _SPREAD, len(scan))
    distance = ranges(scan)
    place, power = fog_return(distance, alpha)
    hard, soft = np.exp(-2 * alpha * distance), distance**2 * power * _SCATTER[severity] / _TARGET
    remission = scan.points[:, column].astype(np.float64)
    foggy = (soft > hard) & (remission > 0)
    points, targets = scan.points.copy(), scan.targets.copy()
    points[:, column] = (remission * np.where(foggy, soft, hard)).clip(max=1).astype(np.float32)
    # As published: the distance to the target varies by up to 10 m, and the fog's with it; never beyond twice.
    nearer = place / np.maximum(distance + spread, distance / 2)
    points[foggy, :3] *= nearer[foggy, None].astype(np.float32)
    targets[foggy] = IGNORE_INDEX
    return replace(scan, points=points, targets=targets)


def fog_return(
    distance: Float[np.ndarray, " points"], alpha: float
) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
    """Return where the fog before a target returns most, in metres, and how much (the integral of equation 9).

    Args:
        distance: Of the target in metres; NaN counts as the farthest.
        alpha: Attenuation per metre.
    """
    place, power = _table(alpha)
    row = np.nan_to_num(np.asarray(distance, np.float64) / _STEP, nan=len(power)).clip(0, len(power) - 1)
    index = np.rint(row).astype(np.int64)
    return place[index], power[index]


@lru_cache(maxsize=len(_DENSITY))
def _table(alpha: float) -> tuple[Float64[np.ndarray, " steps"], Float64[np.ndarray, " steps"]]:
    """Place and power of the strongest return up to each distance in steps of `_STEP`."""
    at = np.arange(round(_FARTHEST / _STEP) + 1) * _STEP
    time = np.linspace(0, 2 * _PULSE, 400, endpoint=False) + _PULSE / 400  # midpoints
    reached = at[:, None] - _LIGHT * time / 2
    seen = ((reached - _OVERLAP[0]) / (_OVERLAP[1] - _OVERLAP[0])).clip(0, 1)
    near = np.maximum(reached, _OVERLAP[0])
    pulse = np.sin(np.pi * time / (2 * _PULSE)) ** 2
    power = (pulse * np.exp(-2 * alpha * near) / near**2 * seen).sum(1) * (time[1] - time[0])
    strongest = np.maximum.accumulate(power)
    best = np.maximum.accumulate(np.where(power >= strongest, np.arange(len(at)), 0))
    return at[best], strongest
