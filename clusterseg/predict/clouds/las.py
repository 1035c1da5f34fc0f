"""Surveyors' .las and .laz files, by the optional package laspy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clusterseg.errors import UserError
from clusterseg.predict.clouds.cloud import Cloud


def read_las(path: Path) -> Cloud:
    """Read a .las or .laz file.

    Raises:
        UserError: laspy is not installed, or the file is damaged.
    """
    try:
        import laspy
    except ImportError:
        raise UserError(f"{path}: reading {path.suffix} needs laspy; pip install 'clusterseg[las]'") from None
    try:
        las = laspy.read(path)
    except Exception as error:  # laspy and its decompressor raise many kinds, all of them about the file
        raise UserError(f"{path}: cannot be read ({error}); the file is damaged or no {path.suffix} file") from None
    return Cloud(np.asarray(las.xyz, np.float64), np.asarray(las.intensity, np.float64))
