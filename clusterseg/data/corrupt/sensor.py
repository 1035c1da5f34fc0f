"""Corruptions of the sensor itself: beams that fail, other sensors nearby, returns that are lost, another sensor.

Constants: the scripts that made SemanticKITTI-C (ldkong1205/Robo3D, `create/semantickitti_c`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clusterseg.data.augment.beams import beams_of
from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.corrupt.kind import About, members
from clusterseg.data.label_map import IGNORE_INDEX

_SPACING = 0.42  # degrees between beams, where the order of the file does not tell them: 64 beams over 26.8 degrees
_SHARE_MISSING = (16 / 64, 32 / 64, 48 / 64)
_ENDS = (4 / 64, 59 / 64)  # the beams that may fail: the outermost ones stay
_DROPPED_OF_FOUR = ((1,), (1, 3), (1, 2, 3))
_SHARE_CROSSTALK = (0.006, 0.008, 0.01)
_CROSSTALK = 3.0  # standard deviation in metres, and of the remission
_SHARE_LOST = (0.75, 0.85, 0.95)
_FEWEST = 10  # points of a class that are left alone
#: Shiny and dark bodies, whose returns get lost; the names of SemanticKITTI, then those of nuScenes.
VEHICLES = ("car", "bicycle", "motorcycle", "truck", "other-vehicle", "bus", "trailer", "construction_vehicle")


def beam_missing(scan: LabelledScan, rng: np.random.Generator, severity: int, about: About) -> LabelledScan:
    """Remove whole beams. A quarter, half, three quarters of the number of beams are drawn, with replacement."""
    beams = beams_of(scan.points, _SPACING)
    count = int(beams.max(initial=0)) + 1
    low, high = int(_ENDS[0] * count), max(int(_ENDS[1] * count), int(_ENDS[0] * count) + 1)
    drawn = rng.integers(low, high, round(_SHARE_MISSING[-1] * count))  # the same at each severity, then cut
    return scan.where(~np.isin(beams, drawn[: round(_SHARE_MISSING[severity] * count)]))


def cross_sensor(scan: LabelledScan, rng: np.random.Generator, severity: int, about: About) -> LabelledScan:
    """Leave three, two, one of four beams, and of these every second point: a sensor with fewer beams."""
    stays = ~np.isin(beams_of(scan.points, _SPACING) % 4, _DROPPED_OF_FOUR[severity])
    kept = np.zeros(len(scan), bool)
    kept[np.flatnonzero(stays)[::2]] = True
    return scan.where(kept)


def crosstalk(scan: LabelledScan, rng: np.random.Generator, severity: int, about: About) -> LabelledScan:
    """Displace a few points by pulses of another sensor: Gaussian noise of 3 m and of 3 in remission; ignored."""
    order = rng.permutation(len(scan))
    noise = rng.standard_normal(scan.points.shape, dtype=np.float32) * np.float32(_CROSSTALK)
    rows = order[: int(_SHARE_CROSSTALK[severity] * len(scan))]
    points, targets = scan.points.copy(), scan.targets.copy()
    points[rows, :3] += noise[rows, :3]
    for column in about.lit:
        points[rows, column] = (points[rows, column] + noise[rows, column]).clip(0, 1)
    targets[rows] = IGNORE_INDEX
    return replace(scan, points=points, targets=targets)


def incomplete_echo(scan: LabelledScan, rng: np.random.Generator, severity: int, about: About) -> LabelledScan:
    """Lose 75, 85, 95 % of the points of each class of vehicles.

    Raises:
        UserError: The data set has no such class.
    """
    order = rng.permutation(len(scan))
    lost = np.zeros(len(scan), bool)
    for train_id in about.train_ids("incomplete_echo", VEHICLES):
        own = order[members(scan, [train_id])[order]]
        if len(own) > _FEWEST:
            lost[own[: int(_SHARE_LOST[severity] * len(own))]] = True
    return scan.where(~lost)
