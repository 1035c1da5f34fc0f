"""Find the frame of a cloud: that of a sensor or that of a map."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float64

from clusterseg.errors import UserError

GROUND = -1.73  # metres; height of the road in SemanticKITTI's sensor frame
_NEAR = 50.0  # metres; maximum distance of a scan's median from its sensor
_BESIDE = 20.0  # metres; maximum distance of the nearest point of a forward-looking sensor
_GROUNDS = (-6.0, 2.0)  # metres; height range of the ground relative to vehicle sensors, including hills
_DEGREES = 0.1  # degrees; maximum extent of a cloud in degrees (11 km)
MODES = ("auto", "sensor", "median")


def find_offset(xyz: Float64[np.ndarray, "points 3"], origin: Any = "auto") -> Float64[np.ndarray, " 3"]:
    """Return the offset in metres to subtract for a sensor-like frame: z up, the road at `GROUND`.

    Args:
        xyz: Coordinates; those that are not finite are ignored.
        origin: `sensor` leaves them as they are; `median` moves the median to x = y = 0 and the ground (5 % of the
            points lie below) to the height of a road; `auto` does so unless they look like a sensor's frame; three
            numbers are the position of the sensor.

    Raises:
        UserError: The coordinates are in degrees, or `origin` is none of these.
    """
    origin = check_origin(origin)
    if not isinstance(origin, str):
        return np.array(origin)
    finite = xyz if np.isfinite(xyz).all() else xyz[np.isfinite(xyz).all(1)]
    if origin == "sensor" or not len(finite):
        return np.zeros(3)
    middle = np.median(finite[:, :2], axis=0)
    _refuse_degrees(finite, middle)
    ground = np.percentile(finite[:, 2], 5)
    if origin == "auto" and _around_sensor(finite, middle, float(ground)):
        return np.zeros(3)
    return np.array([*middle, ground - GROUND])


def check_origin(origin: Any) -> str | tuple[float, ...]:
    """Return the setting `origin` as a mode or three numbers.

    Raises:
        UserError: It is neither.
    """
    if isinstance(origin, str):
        if origin in MODES:
            return origin
    elif isinstance(origin, Iterable):
        place = tuple(origin)
        if len(place) == 3 and all(isinstance(v, (int, float)) and math.isfinite(v) for v in place):
            return tuple(float(value) for value in place)
    raise UserError(f"origin={origin}: expected auto, sensor, median, or the sensor's place in metres as [X,Y,Z]")


def coordinate_step(xyz: Float64[np.ndarray, "points 3"]) -> float:
    """Resolution in metres of coordinates stored as float32, which is coarse far from 0; 0 if finer."""
    finite = xyz[np.isfinite(xyz).all(1)][:10_000]
    if not len(finite) or (finite != finite.astype(np.float32)).any():
        return 0.0
    return float(np.spacing(np.abs(finite).max().astype(np.float32)))


def lies_on_zero(xyz: Float64[np.ndarray, "points 3"]) -> bool:
    """Whether heights appear to be relative to the ground, not to the sensor."""
    z = xyz[np.isfinite(xyz).all(1), 2]
    return len(z) > 1000 and bool(abs(np.percentile(z, 5)) < 0.15 and np.percentile(z, 95) > 1)


def _around_sensor(xyz: Float64[np.ndarray, "points 3"], middle: Float64[np.ndarray, " 2"], ground: float) -> bool:
    if np.hypot(*middle) > _NEAR or not _GROUNDS[0] <= ground <= _GROUNDS[1]:
        return False
    low, high = np.percentile(xyz[:, :2], [1, 99], axis=0)
    return bool((low <= _BESIDE).all() and (high >= -_BESIDE).all())


def _refuse_degrees(xyz: Float64[np.ndarray, "points 3"], middle: Float64[np.ndarray, " 2"]) -> None:
    """Refuse longitude and latitude: values in the range of degrees, a tiny extent, but heights in metres."""
    extent = np.percentile(xyz, 99, axis=0) - np.percentile(xyz, 1, axis=0)
    width = extent[:2].max()
    x, y = np.abs(middle)
    on_globe = max(x, y) <= 180 and min(x, y) <= 90 and max(x, y) > 0.5
    if on_globe and 0 < width < _DEGREES and extent[2] > 5 * width:
        raise UserError(
            f"x and y seem to be degrees (about {middle[0]:.4f}, {middle[1]:.4f}, {extent[0]:.2g} x {extent[1]:.2g} "
            f"wide and {extent[2]:.3g} high); project them to metres, or set origin=sensor if they are metres"
        )
