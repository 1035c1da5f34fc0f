"""What a corruption is, and what it knows of the data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64

from clusterseg.data.augment.classes import belongs
from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.errors import UserError

SEVERITIES = ("light", "moderate", "heavy")
_REMISSION = ("remission", "intensity")


@dataclass(frozen=True)
class About:
    """What a corruption knows of the data set.

    Attributes:
        class_names: Name of each train id.
        features: Names of the columns of the points.

    Examples:
        >>> about = About(["car", "road"])
        >>> about.remission("fog"), about.train_ids("wet_ground", ["road", "parking"])
        (3, [1])
    """

    class_names: Sequence[str]
    features: Sequence[str] = ("x", "y", "z", "remission")

    @property
    def lit(self) -> list[int]:
        """Columns of a remission in 0..1; none, or one."""
        return [i for i, feature in enumerate(self.features) if feature in _REMISSION]

    def remission(self, name: str) -> int:
        """Return the column of the remission, which lies in 0..1.

        Args:
            name: The corruption, for the error.

        Raises:
            UserError: There is no such column.
        """
        if not self.lit:
            raise UserError(
                f"corrupt={name}: needs the remission of each point, and the data has {', '.join(self.features)}; "
                "leave it out"
            )
        return self.lit[0]

    def train_ids(self, name: str, classes: Sequence[str]) -> list[int]:
        """Return the train ids of those classes that the data set has.

        Args:
            name: The corruption, for the error.
            classes: Names of classes; those of other data sets among them are skipped.

        Raises:
            UserError: It has none of them.
        """
        found = [i for i, own in enumerate(self.class_names) if own in classes]
        if not found:
            raise UserError(
                f"corrupt={name}: acts on the classes {', '.join(classes)}, and the data has none of them; leave it out"
            )
        return found


#: A pure function of a scan with its labels, the source of every random draw, the severity 0..2 and the data set.
Corruption: TypeAlias = Callable[[LabelledScan, np.random.Generator, int, About], LabelledScan]


def members(scan: LabelledScan, ids: Sequence[int]) -> Bool[np.ndarray, " points"]:
    """Return a mask of the points of these train ids."""
    return belongs(scan.targets, np.asarray(ids, np.int64))


def ranges(scan: LabelledScan) -> Float64[np.ndarray, " points"]:
    """Return the distance of each point from the sensor in metres; NaN where it has no position."""
    distance: np.ndarray = np.linalg.norm(scan.points[:, :3].astype(np.float64), axis=1)
    return distance


def usual_return(
    distance: Float64[np.ndarray, " points"], remission: Float64[np.ndarray, " points"]
) -> Float64[np.ndarray, " points"]:
    """Return the remission that is usual at each distance: a straight line through all points, above 0.

    Args:
        distance: Metres; NaN where a point has no position, which gets NaN.
        remission: Of each point.
    """
    placed = np.isfinite(distance)
    if placed.sum() < 2 or np.ptp(distance[placed]) == 0:
        return np.where(placed, remission[placed].mean() if placed.any() else 0.0, np.nan)
    slope, start = np.polyfit(distance[placed], remission[placed], 1)
    usual: np.ndarray = np.maximum(slope * distance + start, 1e-6)
    return usual
