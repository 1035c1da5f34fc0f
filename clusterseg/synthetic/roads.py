"""Roads: smooth centre curves, coordinates along and across them, and the blocks that line them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

STEP = 1.0
_CELL = 4.0
_SPARSE = 2


@dataclass(frozen=True)
class Blocks:
    """The blocks along one side of a road; all arrays are (blocks,).

    From the carriageway outwards: a parking lane, a verge, a pavement (widths in metres, 0 where absent), then
    the lot. `bank` is how high the lot rises away from the road, in metres. The `*_style` columns index
    the town's ground styles.
    """

    start: Float[np.ndarray, " blocks"]
    parking: Float[np.ndarray, " blocks"]
    verge: Float[np.ndarray, " blocks"]
    pavement: Float[np.ndarray, " blocks"]
    bank: Float[np.ndarray, " blocks"]
    parking_style: Int[np.ndarray, " blocks"]
    verge_style: Int[np.ndarray, " blocks"]
    pavement_style: Int[np.ndarray, " blocks"]
    lot_style: Int[np.ndarray, " blocks"]

    @property
    def middle(self) -> Float[np.ndarray, " blocks"]:
        """Middle of each block along the road, in metres; the last block is taken to be as long as the one before."""
        stop = np.append(self.start[1:], 2 * self.start[-1] - self.start[-2])
        return (self.start + stop) / 2

    @property
    def lot_edge(self) -> Float[np.ndarray, " blocks"]:
        """Distance from the carriageway's edge to the lot, in metres."""
        return self.parking + self.verge + self.pavement


@dataclass(frozen=True)
class Road:
    """A centre curve sampled every metre, with a carriageway to both sides.

    Road coordinates: `s` along the curve from its start and `d` to the left of it, both in metres.
    """

    xy: Float[np.ndarray, "vertices 2"]
    heading: Float[np.ndarray, " vertices"]
    half_width: float
    style: int
    marking_style: int
    lanes: int
    left: Blocks
    right: Blocks

    @property
    def length(self) -> float:
        """In metres."""
        return (len(self.xy) - 1) * STEP

    @cached_property
    def _frames(self) -> Float[np.ndarray, "vertices 5"]:
        """Position, direction (cos, sin) and curvature at each vertex, side by side for one fast look-up."""
        bend = np.gradient(self.heading, STEP)
        return np.column_stack([self.xy, np.cos(self.heading), np.sin(self.heading), bend])

    def at(self, s: float, d: float = 0.0) -> tuple[float, float, float]:
        """World position and heading (x, y in metres, radians) of road coordinates."""
        s = float(np.clip(s, 0, self.length))
        i = min(int(s / STEP), len(self.xy) - 2)
        share = s / STEP - i
        x, y = self.xy[i] * (1 - share) + self.xy[i + 1] * share
        heading = self.heading[i] * (1 - share) + self.heading[i + 1] * share
        return float(x - d * np.sin(heading)), float(y + d * np.cos(heading)), float(heading)

    def project(
        self, xy: Float[np.ndarray, "points 2"], first: Int[np.ndarray, " points"]
    ) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
        """Road coordinates (s, d) of points, from a vertex near the foot of each.

        One step along the tangent, corrected for curvature, then the exact coordinates at the vertex reached.
        """
        i = first
        for _ in range(2):
            x, y, cos, sin, bend = self._frames[i].T
            dx, dy = xy[:, 0] - x, xy[:, 1] - y
            along, across = dx * cos + dy * sin, dy * cos - dx * sin
            s = i * STEP + along / np.maximum(1 - bend * across, 0.3)
            i = np.minimum(np.maximum((s / STEP + 0.5).astype(int), 0), len(self.xy) - 1)
        on = np.minimum(np.maximum(s, 0), self.length)
        return on, across + np.copysign(np.abs(s - on), across)


def nearest_vertex(
    xy: Float[np.ndarray, "points 2"], curve: Float[np.ndarray, "vertices 2"]
) -> tuple[Int[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    """Index of the vertex nearest to each point, and its distance."""
    gap = (xy[:, None, 0] - curve[None, :, 0]) ** 2 + (xy[:, None, 1] - curve[None, :, 1]) ** 2
    nearest = gap.argmin(1)
    return nearest, np.sqrt(gap[np.arange(len(xy)), nearest])


class NearbyRoads:
    """The roads around a place, with a grid that says for each cell which roads may be nearest, and where."""

    def __init__(self, roads: list[Road], center: Float[np.ndarray, " 2"], radius: float) -> None:
        self.size = int(np.ceil(2 * radius / _CELL)) + 1
        self.corner = np.asarray(center, float) - radius
        line = np.arange(self.size) * _CELL + _CELL / 2
        cells = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2) + self.corner
        self.roads = [r for r in roads if (np.abs(r.xy - center).max(1) < radius + 40).any()]
        first, edge = [], []
        for road in self.roads:
            start, stop = np.flatnonzero(np.abs(road.xy - center).max(1) < radius + 40)[[0, -1]]
            nearest, distance = nearest_vertex(cells, road.xy[start : stop + 1 : _SPARSE])
            first.append(start + _SPARSE * nearest)
            edge.append(distance - road.half_width)
        self._first = np.stack(first)
        # the distance to an edge changes by at most the way from the cell's middle, for either road
        slack = 2 * (_CELL / np.sqrt(2)) + 2 * _SPARSE * STEP
        self._candidate = np.stack(edge) <= np.min(edge, 0) + slack

    def project(
        self, xy: Float[np.ndarray, "points 2"]
    ) -> Iterator[tuple[int, Int[np.ndarray, " some"], Float[np.ndarray, " some"], Float[np.ndarray, " some"]]]:
        """For each nearby road: its index, the points that it may be the nearest road of, and their s and d.

        Points outside the grid are looked up at its border.
        """
        cell = np.minimum(np.maximum(((xy - self.corner) / _CELL).astype(int), 0), self.size - 1)
        flat = cell[:, 0] * self.size + cell[:, 1]
        candidates = self._candidate[:, flat]
        for k in np.flatnonzero(candidates.any(1)):
            rows = np.flatnonzero(candidates[k])
            yield int(k), rows, *self.roads[k].project(xy[rows], self._first[k][flat[rows]])


def winding_curve(
    length: float, start: tuple[float, float, float], bends: Float[np.ndarray, "waves 3"]
) -> tuple[Float[np.ndarray, "vertices 2"], Float[np.ndarray, " vertices"]]:
    """Vertices and headings of a curve whose heading is a sum of sine waves.

    Args:
        length: In metres.
        start: X, y in metres and heading in radians at the start.
        bends: Amplitude in radians, wave length in metres and phase in radians of each wave.
    """
    s = np.arange(int(np.ceil(length / STEP)) + 1) * STEP
    waves = [a * (np.sin(2 * np.pi * s / w + p) - np.sin(p)) for a, w, p in bends]
    heading = start[2] + np.sum(waves, axis=0) if len(bends) else np.full(len(s), start[2])
    middle = (heading[1:] + heading[:-1]) / 2
    steps = STEP * np.stack([np.cos(middle), np.sin(middle)], 1)
    xy = np.array(start[:2]) + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])
    return xy, heading
