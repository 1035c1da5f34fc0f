"""Motion blur: the vehicle shakes during the turn of the lidar."""

from __future__ import annotations

import numpy as np

from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.corrupt.kind import About

_SHAKE = (0.2, 0.25, 0.3)  # metres: standard deviation of the shift of the scan
_JITTER = (0.1, 0.1, 0.05)  # of the shake along x, y, z: that of each point


def motion_blur(scan: LabelledScan, rng: np.random.Generator, severity: int, about: About) -> LabelledScan:
    """Shift the whole scan by a Gaussian draw, and each point by a smaller one of its own.

    Constants: `gen_motion_blur.py` of ldkong1205/Robo3D. Points stay, with their labels.
    """
    shift = rng.standard_normal(3)
    jitter = rng.standard_normal((len(scan), 3)) * _JITTER
    points = scan.points.copy()
    points[:, :3] += (_SHAKE[severity] * (shift + jitter.clip(-3, 3))).astype(np.float32)
    return scan.with_points(points)
