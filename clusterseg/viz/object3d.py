"""Coloured scans for the dashboard of wandb."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8


def object3d(
    xyz: Float[np.ndarray, "points 3"], colours: UInt8[np.ndarray, "points 3"], max_points: int = 120_000
) -> Any:
    """A scan as `wandb.Object3D`; points that are not finite are left out, and evenly some where there are too many.

    Args:
        xyz: Metres.
        colours: Red, green, blue of each point; see `clusterseg.viz.bev.panels`.
        max_points: The dashboard draws some 300,000 at most.
    """
    import wandb  # takes a second to import, and most runs do without

    rows = np.flatnonzero(np.isfinite(xyz).all(1))
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), max_points)).round().astype(int)]
    return wandb.Object3D(np.c_[xyz[rows], colours[rows]].astype(np.float64))
