"""A grid around the sensor seen from above: height of the ground, and obstacles on it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
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
        return next(self.ground_at(points[None, :, 0], points[None, :, 1], points[:, 2], min_support))

    def ground_at(
        self,
        x: Float32[np.ndarray, "places points"],
        y: Float32[np.ndarray, "places points"],
        z: Float32[np.ndarray, " points"],
        min_support: float = 0.5,
    ) -> Iterator[float | None]:
        """Yield what `ground_under` returns for each of several places of one object, in their order."""
        if not len(z) or not np.isfinite(z).all():
            yield from [None] * len(x)
            return
        cells = self.lowest.size
        on_grid = np.all(_inside(x, y, self.reach), axis=1)
        # one grid for each place on it, stacked: the cells of a place are numbered from its layer on
        layers = cells * np.arange(np.count_nonzero(on_grid) + 1)
        footprint = np.unique(_cells(x[on_grid], y[on_grid], self.reach, self.cell) + layers[:-1, None])
        neighbours = self._with_neighbours(footprint % cells)
        supported = np.any(self.ground_count.reshape(-1).take(neighbours) > 0, axis=0)
        near = np.unique(neighbours + footprint // cells * cells)
        of_footprint, of_near = (
            itertools.pairwise(np.searchsorted(keys, layers).tolist()) for keys in (footprint, near)
        )
        extent = float(np.ptp(z))
        for is_on_grid in on_grid.tolist():
            if not is_on_grid:
                yield None
                continue
            (start, stop), (first, last) = next(of_footprint), next(of_near)
            enough = np.count_nonzero(supported[start:stop]) >= min_support * (stop - start)
            yield self._height(near[first:last] % cells, extent) if enough else None

    def _height(self, near: Int64[np.ndarray, " near"], extent: float) -> float | None:
        """Return the mean height of the ground of cells; None if there is none, or an object would hit something."""
        count = self.ground_count.reshape(-1).take(near).sum()
        if count == 0:
            return None
        height = float(self.ground_sum.reshape(-1).take(near).sum() / count)
        return height if self.lowest.reshape(-1).take(near).min() > height + extent else None

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
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    inside = _inside(x, y, reach) & np.isfinite(z)
    return inside, _cells(x[inside], y[inside], reach, cell)


def _inside(
    x: Float32[np.ndarray, "*shape"], y: Float32[np.ndarray, "*shape"], reach: float
) -> Bool[np.ndarray, "*shape"]:
    """Return a mask of the points on the grid."""
    return (np.abs(x) < reach) & (np.abs(y) < reach)


def _cells(
    x: Float32[np.ndarray, "*shape"], y: Float32[np.ndarray, "*shape"], reach: float, cell: float
) -> Int64[np.ndarray, "*shape"]:
    """Return the cell index (row-major) of points on the grid."""
    # rounds down, since nothing on the grid is below zero
    row, column = (((axis.astype(np.float64) + reach) / cell).astype(np.int64) for axis in (x, y))
    return row * _edge(reach, cell) + column
