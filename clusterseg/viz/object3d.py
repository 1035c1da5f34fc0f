"""Coloured scans for wandb."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8


def object3d(
    xyz: Float[np.ndarray, "points 3"], colours: UInt8[np.ndarray, "points 3"], max_points: int = 120_000
) -> Any:
    """Convert a scan to `wandb.Object3D`; points not finite are dropped, and too many points are thinned evenly.

    Args:
        xyz: Metres.
        colours: Red, green, blue of each point; see `clusterseg.viz.bev.panels`.
        max_points: Maximum number of points; wandb draws about 300,000.
    """
    import wandb  # takes a second to import, and most runs do without

    rows = np.flatnonzero(np.isfinite(xyz).all(1))
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), max_points)).round().astype(int)]
    return wandb.Object3D(np.c_[xyz[rows], colours[rows]].astype(np.float64))
