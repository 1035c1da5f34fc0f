"""Wet ground: a film of water reflects the pulse away from the sensor, and ground far off is lost."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.corrupt.kind import About, members, ranges, usual_return

_WATER = (0.2e-3, 1.0e-3, 1.2e-3)  # metres
_TEXTURE = 1.2e-3  # depth of the pavement's texture in metres: deeper water covers it
_FLOOR = (0.3, 0.3, 0.7)  # share of the usual return at a distance: what is dimmer is lost
_POWER = 15.0  # emitted power in units of the ground's usual return
_AIR, _REFRACTION = 1.0003, 1.33
_FEWEST = 100  # points of ground from which the usual return is estimated
#: The names of SemanticKITTI, then those of nuScenes.
GROUND = ("road", "parking", "sidewalk", "other-ground", "driveable_surface", "other_flat")


def wet_ground(scan: LabelledScan, rng: np.random.Generator, severity: int, about: About) -> LabelledScan:
    """Dim the ground by a film of water, and lose what gets dimmer than the sensor sees.

    Source: Hahner et al., Lidar snowfall simulation (CVPR 2022), section 4, with the numbers of ldkong1205/Robo3D
    (`wet_ground/augmentation.py`), which takes the ground from the labels and as flat. No draw is random.

    Raises:
        UserError: The points have no remission, or the data set has no class of ground.
    """
    column = about.remission("wet_ground")
    ground = members(scan, about.train_ids("wet_ground", GROUND)) & np.isfinite(scan.points[:, :3]).all(1)
    if ground.sum() < _FEWEST:
        return scan
    distance = ranges(scan)[ground]
    cosine = (np.abs(scan.points[ground, 2].astype(np.float64)) / distance).clip(0.01, 1)
    remission = scan.points[ground, column].astype(np.float64)
    usual = usual_return(distance, remission / cosine)
    wet = _wet(remission, cosine, _POWER * usual, severity)
    points, stays = scan.points.copy(), np.ones(len(scan), bool)
    points[ground, column] = wet.astype(np.float32)
    stays[ground] = wet > _FLOOR[severity] * usual * cosine
    return scan.with_points(points).where(stays)


def _wet(
    remission: Float64[np.ndarray, " ground"],
    cosine: Float64[np.ndarray, " ground"],
    power: Float64[np.ndarray, " ground"],
    severity: int,
) -> Float64[np.ndarray, " ground"]:
    """Return the remission of wet ground: dry texture and film of water, by the share that is covered."""
    dry = remission / cosine / power
    angle = np.arccos(cosine)
    film = transmitted(angle, dry.clip(0.05, 1)) / np.maximum(angle, 1e-3)
    covered = min(_WATER[severity] / _TEXTURE, 1.0)
    wet: np.ndarray = np.minimum(power * cosine * ((1 - covered) * dry + covered * film), remission)
    return wet


def transmitted(
    angle: Float64[np.ndarray, " ground"], reflectivity: Float64[np.ndarray, " ground"]
) -> Float64[np.ndarray, " ground"]:
    """Return the share of power that comes back through the film: into it, off the ground, and out again.

    Fresnel's equations for both polarisations, with all reflections between ground and surface; the larger one counts.

    Args:
        angle: Of incidence in radians.
        reflectivity: Of the ground, 0..1.
    """
    inside = np.arcsin(np.sin(angle) * _AIR / _REFRACTION)
    there, back = _AIR * np.cos(angle), _REFRACTION * np.cos(inside)
    s = ((there - back) / (there + back)) ** 2
    there, back = _REFRACTION * np.cos(angle), _AIR * np.cos(inside)
    p = ((there - back) / (there + back)) ** 2
    ways = [(1 - r) ** 2 * reflectivity / (1 - reflectivity * r) for r in (s, p)]
    return np.maximum(*ways)
