"""Snow: flakes in the beams hide what lies behind, and near ones return themselves."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.corrupt.kind import About, ranges, usual_return
from clusterseg.data.label_map import IGNORE_INDEX

_RATE = (0.5, 1.0, 2.5)  # snowfall in millimetres of water an hour
_SPEED = (2.0, 1.6, 1.6)  # of the flakes, metres per second
_FLAKE_DENSITY = 0.1  # grams per cubic centimetre
_DIVERGENCE = 3e-3  # opening angle of a beam, radians
_OVERLAP = (0.9, 1.0)  # metres: where the receiver starts to see the beam, and where it sees all of it
_FLAKE_REMISSION = 0.9
_SEEN = 0.05  # remission from which a flake is taken for a target
_FLOOR = 0.7  # of the usual return at a distance: what is dimmer is lost in the heaviest snow, less in lighter snow


class Snowfall(NamedTuple):
    """Flakes in a plane.

    Attributes:
        number: Flakes per square metre.
        diameter: Their mean in metres; diameters are exponentially distributed (Gunn and Marshall, 1958).
    """

    number: float
    diameter: float


def snowfall(severity: int) -> Snowfall:
    """Return the flakes of a severity.

    Source: Hahner et al., Lidar snowfall simulation (CVPR 2022), supplement: the share of an area that flakes cover,
    and the rain that would bring as much water, which gives the slope of the distribution, 25.5 R^-0.48 per centimetre.
    """
    rate, speed = _RATE[severity], _SPEED[severity]
    covered = rate / (3.6e6 * _FLAKE_DENSITY * speed)
    rain = (rate / (487 * _FLAKE_DENSITY * 0.003 * speed)) ** 1.5
    slope = 2550 * rain**-0.48
    return Snowfall(covered / (math.pi / 4 * 2 / slope**2), 1 / slope)


def snow(scan: LabelledScan, rng: np.random.Generator, severity: int, about: About) -> LabelledScan:
    """Dim points behind flakes, lose those that get too dim, and replace those that a flake outshines; it is ignored.

    Each beam meets its own flakes, as many as lie in its wedge of the plane on average (Poisson), while the source
    draws one plane of flakes per beam number and intersects it with all beams. The noise floor is ours.

    Raises:
        UserError: The points have no remission.
    """
    column = about.remission("snow")
    distance, remission = ranges(scan), scan.points[:, column].astype(np.float64)
    beam, place, share = _flakes(np.nan_to_num(distance), rng, snowfall(severity))
    open_share = np.exp(np.bincount(beam, np.log1p(-share.clip(max=1 - 1e-9)), minlength=len(scan)))
    nearest, power = _strongest(beam, place, share, len(scan))
    dimmed = remission * open_share
    flaky = power > np.maximum(dimmed, _SEEN)
    floor = _FLOOR * _RATE[severity] / _RATE[-1] * usual_return(distance, remission)
    lost = (dimmed < floor) & ~flaky
    points, targets = scan.points.copy(), scan.targets.copy()
    points[:, column] = np.where(flaky, power, dimmed).clip(0, 1).astype(np.float32)
    points[flaky, :3] *= (nearest[flaky] / distance[flaky])[:, None].astype(np.float32)
    targets[flaky] = IGNORE_INDEX
    return replace(scan, points=points, targets=targets).where(~lost)


def _flakes(
    distance: Float64[np.ndarray, " points"], rng: np.random.Generator, fall: Snowfall
) -> tuple[Int64[np.ndarray, " flakes"], Float64[np.ndarray, " flakes"], Float64[np.ndarray, " flakes"]]:
    """Draw the flakes before each point: the point, the flake's distance, the share of the beam that it covers."""
    counts = rng.poisson(fall.number * _DIVERGENCE / 2 * distance**2)
    beam = np.repeat(np.arange(len(distance)), counts)
    place = distance[beam] * np.sqrt(rng.random(len(beam)))  # evenly over the area of the wedge
    diameter = rng.exponential(fall.diameter, len(beam))
    return beam, place, (diameter / (_DIVERGENCE * np.maximum(place, 1e-3))).clip(max=1)


def _strongest(
    beam: Int64[np.ndarray, " flakes"],
    place: Float64[np.ndarray, " flakes"],
    share: Float64[np.ndarray, " flakes"],
    points: int,
) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
    """Distance and return of the brightest flake before each point; 0 without one."""
    seen = ((place - _OVERLAP[0]) / (_OVERLAP[1] - _OVERLAP[0])).clip(0, 1)
    power = _FLAKE_REMISSION * share * seen / np.maximum(place, _OVERLAP[0]) ** 2
    order = np.argsort(power, kind="stable")  # the last write to a point is its brightest flake
    nearest, best = np.zeros(points), np.zeros(points)
    nearest[beam[order]], best[beam[order]] = place[order], power[order]
    return nearest, best
