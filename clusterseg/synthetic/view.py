"""The view of one turn of the lidar: the hit of each ray of the range image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class View:
    """A range image with what is known of each hit; all arrays are (beams, azimuths).

    Attributes:
        depth: Distance along the ray in metres; inf where the ray leaves the world.
        instance: Instance id, 0 where nothing was hit.
        material: Row in the material table.
        tint: Factor on the material's remission.
        cosine: |cos| of the angle between ray and surface normal.
    """

    depth: Float[np.ndarray, "beams azimuths"]
    instance: Int[np.ndarray, "beams azimuths"]
    material: Int[np.ndarray, "beams azimuths"]
    tint: Float[np.ndarray, "beams azimuths"]
    cosine: Float[np.ndarray, "beams azimuths"]
