"""Compute the hit of each ray of the range image: solids over ground, nearest first."""

from __future__ import annotations

import numpy as np

from clusterseg.synthetic.cast import Hits
from clusterseg.synthetic.intersect import unit_normals
from clusterseg.synthetic.materials import TABLE
from clusterseg.synthetic.solids import Kind, Solids
from clusterseg.synthetic.view import View

# windows of a facade: distance between two, and the part of it that is glass, along the wall and upwards
_WINDOW_EVERY = (2.8, 2.9)
_WINDOW_SPAN = ((0.3, 0.72), (0.32, 0.78))


def add_solids(view: View, hits: Hits, solids: Solids, directions: np.ndarray) -> View:
    """The view with the solids that the rays hit before they reached what is in `view`.

    Args:
        view: The ground.
        hits: For each ray the nearest solid, or -1 where the ground (or nothing) is nearer.
        solids: In the sensor frame.
        directions: Unit rays (beams, azimuths, 3).
    """
    where = hits.solid >= 0
    i = hits.solid[where]
    rays, depth = directions[where].astype(float), hits.depth[where].astype(float)
    half, axes = solids.half[i], solids.axes[i]
    local = np.einsum("pij,pi->pj", axes, rays * depth[:, None] - solids.center[i])
    turned = np.einsum("pij,pi->pj", axes, rays)
    normal = unit_normals(solids.kind[i], local / half, half)
    cosine = np.abs(np.einsum("pi,pi->p", normal, turned))
    material = solids.material[i]
    foliage = TABLE["depth"][material] > 0
    cosine = np.where(foliage, 0.7, cosine)
    glass, recess = _windows(local, half, normal, solids.kind[i], TABLE["relief"][material])
    depth = depth + recess / np.maximum(cosine, 0.25)
    tint = solids.tint[i] * np.where(glass, 0.35, 1.0)
    return View(
        depth=_filled(hits.depth, where, depth),
        instance=_filled(view.instance, where, solids.instance[i]),
        material=_filled(view.material, where, material),
        tint=_filled(view.tint, where, tint),
        cosine=_filled(view.cosine, where, cosine),
    )


def _filled(image: np.ndarray, where: np.ndarray, values: np.ndarray) -> np.ndarray:
    image = image.copy()
    image[where] = values
    return image


def _windows(
    local: np.ndarray, half: np.ndarray, normal: np.ndarray, kind: np.ndarray, relief: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the hits on windows of upright walls, and the depth of the pane behind the wall in metres."""
    wall = (kind == Kind.BOX) & (relief > 0) & (np.abs(normal[:, 2]) < 0.5)
    facing_x = np.abs(normal[:, 0]) > 0.5
    along = np.where(facing_x, local[:, 1] + half[:, 1], local[:, 0] + half[:, 0])
    glass = wall
    for position, every, (start, stop) in zip(
        (along, local[:, 2] + half[:, 2]), _WINDOW_EVERY, _WINDOW_SPAN, strict=True
    ):
        share = (position / every) % 1
        glass = glass & (share > start) & (share < stop)
    return glass, np.where(glass, relief, 0.0)
