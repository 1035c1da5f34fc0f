"""What is where around the sensor, seen from above: the height of the ground, and what stands on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64


@dataclass(frozen=True, eq=False)
class Surroundings:
    """A square grid of cells, in the middle of which the sensor stands.

    Attributes:
        reach: Half the edge of the grid, metres.
        cell: Edge of a cell, metres.
        ground_sum: Sum of the heights of the ground points of each cell, metres.
        ground_count: Number of them.
        lowest: Height of the lowest other point of each cell, metres; infinity where there is none.
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
        """Sort the points of a scan into cells; what lies beyond the grid, or is not finite, is left out.

        Args:
            points: x, y, z in metres in the sensor's frame, and further channels.
            is_ground: Which of them are ground.
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
        """Return the surroundings with more points that are not ground."""
        inside, place = _places(points, self.reach, self.cell)
        lowest = self.lowest.copy()
        np.minimum.at(lowest.reshape(-1), place, points[inside, 2])
        return replace(self, lowest=lowest)

    def ground_under(self, points: Float32[np.ndarray, "points channels"], min_support: float = 0.5) -> float | None:
        """Return the height of the ground on which a thing would stand, or None where it cannot stand.

        Its footprint are the cells under its points. It can stand where the whole footprint lies on the grid, ground
        was seen in or beside enough of its cells, and no other point lies in or beside them lower than the thing
        would reach. What hangs over it, as a tree does, is no hindrance.

        Args:
            points: Of the thing, at the spot in question and at any height: it stands on its lowest point.
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
        """Return each cell with the 8 around it; at the rim of the grid, a cell stands in for those beyond."""
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
    """Return which points lie on the grid, and the cells of those, counted row by row."""
    x, y, z = points[:, :3].T.astype(np.float64)
    inside = (np.abs(x) < reach) & (np.abs(y) < reach) & np.isfinite(z)
    row, column = (np.floor((axis[inside] + reach) / cell).astype(np.int64) for axis in (x, y))
    return inside, row * _edge(reach, cell) + column
