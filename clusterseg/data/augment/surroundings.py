"""A grid around the sensor seen from above: height of the ground, and obstacles on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A square grid of cells with the sensor in the middle.

    Attributes:
        reach: Half the edge of the grid, metres.
        cell: Edge of a cell, metres.
        ground_sum: Sum of the heights of the ground points of each cell, metres.
        ground_count: Number of the ground points of each cell.
        lowest: Height of the lowest other point of each cell, metres; infinity if there is none.
    """

    reach: float
    cell: float
    ground_sum: Float64[np.ndarray, "cells cells"]
    ground_count: Int64[np.ndarray, "cells cells"]
    lowest: Float32[np.ndarray, "cells cells"]

    @classmethod
    def of(
        cls,
        points: Float32[np.ndarray, "points channels"],
        is_ground: Bool[np.ndarray, " points"],
        reach: float = 50.0,
        cell: float = 0.4,
    ) -> Surroundings:
        """Build the grid of a scan; points beyond the grid or not finite are ignored.

        Args:
            points: x, y, z in metres in the sensor's frame, and further channels.
            is_ground: Mask of the ground points.
            reach: Half the edge of the grid, metres.
            cell: Edge of a cell, metres.
        """
        edge = _edge(reach, cell)
        inside, place = _places(points, reach, cell)
        height, ground = points[inside, 2], is_ground[inside]
        sums = np.bincount(place[ground], height[ground], edge * edge).astype(np.float64)  # whole numbers where empty
        counts = np.bincount(place[ground], minlength=edge * edge)
        empty = np.full(edge * edge, np.inf, np.float32)
        np.minimum.at(empty, place[~ground], height[~ground])
        return cls(reach, cell, sums.reshape(edge, edge), counts.reshape(edge, edge), empty.reshape(edge, edge))

    def with_things(self, points: Float32[np.ndarray, "points channels"]) -> Surroundings:
        """Return the surroundings with additional points that are not ground."""
        inside, place = _places(points, self.reach, self.cell)
        lowest = self.lowest.copy()
        np.minimum.at(lowest.reshape(-1), place, points[inside, 2])
        return replace(self, lowest=lowest)

    def ground_under(self, points: Float32[np.ndarray, "points channels"], min_support: float = 0.5) -> float | None:
        """Return the height of the ground under an object, or None if it cannot stand there.

        Its footprint is the set of cells under its points. It can stand if the whole footprint lies on the grid, enough
        of its cells have ground in or beside them, and no other point in or beside them is lower than the object's
        top. Overhanging points, such as a tree's, are no obstacle.

        Args:
            points: Points of the object at the candidate position, at any height: it stands on its lowest point.
            min_support: Share of the footprint's cells that need ground in or beside them.

        Returns:
            The mean height of the ground points in and beside the footprint, metres.
        """
        inside, place = _places(points, self.reach, self.cell)
        if not len(points) or not inside.all():
            return None
        neighbours = self._with_neighbours(np.unique(place))
        counts = self.ground_count.reshape(-1)[neighbours]
        if counts.sum() == 0 or (counts.sum(axis=0) > 0).mean() < min_support:
            return None
        near = np.unique(neighbours)
        height = float(self.ground_sum.reshape(-1)[near].sum() / self.ground_count.reshape(-1)[near].sum())
        top = height + float(np.ptp(points[:, 2]))
        return height if self.lowest.reshape(-1)[near].min() > top else None

    def _with_neighbours(self, place: Int64[np.ndarray, " footprint"]) -> Int64[np.ndarray, "9 footprint"]:
        """Return each cell with its 8 neighbours; at the border a cell replaces those beyond the grid."""
        edge = len(self.lowest)
        row, column = np.divmod(place, edge)
        step = np.arange(-1, 2)
        rows = (row + step[:, None]).clip(0, edge - 1)
        columns = (column + step[:, None]).clip(0, edge - 1)
        return (rows[:, None] * edge + columns[None]).reshape(9, -1)


def _edge(reach: float, cell: float) -> int:
    return int(np.ceil(2 * reach / cell))


def _places(
    points: Float32[np.ndarray, "points channels"], reach: float, cell: float
) -> tuple[Bool[np.ndarray, " points"], Int64[np.ndarray, " inside"]]:
    """Return a mask of the points on the grid, and the cell index (row-major) of each of them."""
    x, y, z = points[:, :3].T.astype(np.float64)
    inside = (np.abs(x) < reach) & (np.abs(y) < reach) & np.isfinite(z)
    row, column = (np.floor((axis[inside] + reach) / cell).astype(np.int64) for axis in (x, y))
    return inside, row * _edge(reach, cell) + column
