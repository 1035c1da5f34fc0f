"""Ray casting on the range image: each solid meets only the rays of its window, nearest solids first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from clusterseg.synthetic.intersect import ENTER
from clusterseg.synthetic.lidar import Lidar
from clusterseg.synthetic.materials import TABLE
from clusterseg.synthetic.solids import Solids

_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)


class Hits(NamedTuple):
    """Nearest hit of each ray: distance in metres (inf: none) and index of the solid (-1: not a solid)."""

    depth: Float[np.ndarray, "beams azimuths"]
    solid: Int[np.ndarray, "beams azimuths"]


class Windows(NamedTuple):
    """For each solid a rectangle of the range image outside of which no ray can hit it.

    Rows are [top, bottom), columns [left, right) with 0 <= left; right may exceed the image: it wraps around.
    `near` is a lower bound of the distance, in metres.
    """

    top: Int[np.ndarray, " solids"]
    bottom: Int[np.ndarray, " solids"]
    left: Int[np.ndarray, " solids"]
    right: Int[np.ndarray, " solids"]
    near: Float[np.ndarray, " solids"]


def bounding_windows(solids: Solids, lidar: Lidar) -> Windows:
    """Windows from the corners of each solid's bounding box; solids in the sensor frame.

    Azimuths of a convex body lie between those of its corners. Elevations are bounded by the highest (lowest)
    corner at the smallest horizontal distance.
    """
    corners = np.einsum("sij,scj->sci", solids.axes, _CORNERS * solids.half[:, None]) + solids.center[:, None]
    inside = np.einsum("sij,si->sj", solids.axes, -solids.center)
    near = np.linalg.norm(inside - np.clip(inside, -solids.half, solids.half), axis=1)
    low, high = corners[..., 2].min(1), corners[..., 2].max(1)
    far = np.hypot(corners[..., 0], corners[..., 1]).max(1)
    close = np.sqrt(np.maximum(near**2 - np.maximum(np.abs(low), np.abs(high)) ** 2, 1e-6))
    el_max = np.arctan2(high, np.where(high > 0, close, far))
    el_min = np.arctan2(low, np.where(low < 0, close, far))
    top = np.searchsorted(-lidar.elevations, -el_max, "left")
    bottom = np.searchsorted(-lidar.elevations, -el_min, "right")

    middle = np.arctan2(solids.center[:, 1], solids.center[:, 0])
    turn = np.arctan2(corners[..., 1], corners[..., 0]) - middle[:, None]
    turn = (turn + np.pi) % (2 * np.pi) - np.pi
    scale = lidar.azimuths / (2 * np.pi)
    # one column of margin: beams are offset by up to half a column
    left = np.floor((middle + turn.min(1)) * scale).astype(int) - 1
    width = np.ceil((turn.max(1) - turn.min(1)) * scale).astype(int) + 4
    around = (close < 0.01) | (width >= lidar.azimuths)
    left, width = np.where(around, 0, left % lidar.azimuths), np.where(around, lidar.azimuths, width)
    return Windows(top, bottom, left, left + width, near)


def cast(solids: Solids, lidar: Lidar, ground: np.ndarray, rng: np.random.Generator) -> Hits:
    """Nearest hit of every ray of a scan.

    Args:
        solids: In the sensor frame.
        lidar: Gives the rays.
        ground: Distance to the ground (beams, azimuths), inf where there is none.
        rng: Decides where pulses end inside foliage and whether they pass through meshes.
    """
    depth, owner = ground.astype(np.float32), np.full(ground.shape, -1, np.int32)
    windows = bounding_windows(solids, lidar)
    order = np.argsort(windows.near, kind="stable")
    order = order[(windows.near[order] < lidar.max_range) & (windows.bottom > windows.top)[order]]
    scaled = solids.axes / solids.half[:, None, :]
    origins = -np.einsum("si,sij->sj", solids.center, scaled)
    rays32 = scaled.astype(np.float32)
    for i in order:
        rows = slice(windows.top[i], windows.bottom[i])
        for columns in _column_slices(windows.left[i], windows.right[i], lidar.azimuths):
            image = depth[rows, columns]
            if windows.near[i] >= image.max():
                continue
            rays = lidar.directions[rows, columns].reshape(-1, 3) @ rays32[i]
            t = _first_touch(solids, i, origins[i].astype(np.float32), rays, rng).reshape(image.shape)
            nearer = t < image
            image[nearer] = t[nearer]
            owner[rows, columns][nearer] = i
    return Hits(depth, owner)


def _column_slices(left: int, right: int, azimuths: int) -> Iterator[slice]:
    yield slice(left, min(right, azimuths))
    if right > azimuths:
        yield slice(0, min(right - azimuths, left))


def _first_touch(
    solids: Solids, i: int, origin: np.ndarray, rays: np.ndarray, rng: np.random.Generator
) -> Float[np.ndarray, " rays"]:
    """Distance at which each ray (in units of solid i) ends in it; inf for a miss or an origin inside."""
    material = solids.material[i]
    enter, leave = ENTER[int(solids.kind[i])](origin, rays)
    hit = (enter < leave) & (enter > 0)
    if TABLE["depth"][material] > 0:
        enter = enter + TABLE["depth"][material] * rng.standard_exponential(len(rays), np.float32)
        hit &= enter < leave
    if TABLE["gap"][material] > 0:
        hit &= rng.random(len(rays), np.float32) >= TABLE["gap"][material]
    if TABLE["pitch"][material] > 0:
        with np.errstate(invalid="ignore"):
            along = (origin[0] + enter * rays[:, 0]) * solids.half[i, 0]
        hit &= (along / TABLE["pitch"][material]) % 1 < TABLE["fill"][material]
    return np.where(hit, enter, np.inf)
