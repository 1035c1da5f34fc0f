"""One scan of a town: cast, measure, label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt32

from clusterseg.synthetic.cast import cast
from clusterseg.synthetic.ground import LocalGround
from clusterseg.synthetic.lidar import Lidar
from clusterseg.synthetic.render import add_solids
from clusterseg.synthetic.town import Town
from clusterseg.synthetic.view import View


class Scan(NamedTuple):
    """Points (x, y, z in metres in the sensor frame, remission in [0, 1]) and labels (semantic | instance << 16)."""

    points: Float[np.ndarray, "points 4"]
    labels: UInt32[np.ndarray, " points"]


def take_scan(town: Town, lidar: Lidar, time: float, rng: np.random.Generator) -> Scan:
    """Turn the lidar once.

    Args:
        town: The world.
        lidar: The sensor.
        time: Since the start of the drive, in seconds; the world stands still during one turn.
        rng: Of this scan.
    """
    view = look(town, lidar, time, rng)
    points, instance = lidar.measure(view, rng)
    raw = town.register.raw[instance]
    return Scan(points, raw | (instance.astype(np.uint32) << 16))


def look(town: Town, lidar: Lidar, time: float, rng: np.random.Generator) -> View:
    """Return the hit of each ray, without noise."""
    ego = town.ego(time)
    position, turn, ground = ego
    solids = town.around(ego, time, lidar.max_range)
    depth = ground.cast(position, lidar.directions.astype(float) @ turn.T, lidar.max_range)
    hits = cast(solids, lidar, depth, rng)
    bare = np.isfinite(depth) & (hits.solid < 0)
    return add_solids(_ground_view(ground, depth, bare, position, turn, lidar), hits, solids, lidar.directions)


def _ground_view(
    ground: LocalGround, depth: np.ndarray, bare: np.ndarray, position: np.ndarray, turn: np.ndarray, lidar: Lidar
) -> View:
    """The ground where nothing stands in front of it; its style is looked up for those rays only."""
    rays = lidar.directions[bare] @ turn.T
    style = ground.style(position[:2] + rays[:, :2] * depth[bare][:, None])
    table = ground.ground.styles[style]
    instance, material = np.zeros(depth.shape, np.int64), np.zeros(depth.shape, np.int64)
    cosine = np.ones(depth.shape)
    instance[bare], material[bare] = table.T
    cosine[bare] = np.abs(rays[:, 2])
    return View(depth, instance, material, np.ones(depth.shape), cosine)
