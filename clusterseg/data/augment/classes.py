"""Look up classes by name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int64

from clusterseg.errors import UserError

# Movable classes, in the benchmark's names: mmdetection3d's PolarMix pastes these.
THINGS = ("car", "bicycle", "motorcycle", "truck", "other-vehicle", "person", "bicyclist", "motorcyclist")
# Classes that are rare in training scans, for which pasting helps.
RARE_THINGS = THINGS[1:]
# Ground classes on which an object can stand.
GROUND = ("road", "parking", "sidewalk", "terrain")


def train_ids(names: Sequence[str], class_names: Sequence[str], key: str) -> Int64[np.ndarray, " chosen"]:
    """Return the train ids of classes.

    Args:
        names: The classes to find.
        class_names: The name of each train id.
        key: The config key that lists the names, for errors.

    Raises:
        UserError: A name is not a class.
    """
    unknown = [name for name in names if name not in class_names]
    if unknown:
        known = ", ".join(class_names) or "none: the augmentation was not bound to a label map"
        raise UserError(f"{key}: got {', '.join(unknown)}; expected names among the data set's classes ({known})")
    return np.array([list(class_names).index(name) for name in names], np.int64)


def belongs(targets: Int64[np.ndarray, " points"], ids: Int64[np.ndarray, " chosen"]) -> Bool[np.ndarray, " points"]:
    """Return a mask of the points that belong to one of the classes; train ids lie in 0..255."""
    chosen = np.zeros(256, bool)
    chosen[ids] = True
    return chosen.take(targets)
