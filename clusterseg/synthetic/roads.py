"""Roads: smooth centre curves, coordinates along and across them, and the blocks that line them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

STEP = 1.0
_CELL = 4.0


@dataclass(frozen=True)
class Blocks:
    """What lies beside one side of a road, block by block along it; all arrays are (blocks,).

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
            sin, cos = np.sin(self.heading)[i], np.cos(self.heading)[i]
            dx, dy = xy[:, 0] - self.xy[i, 0], xy[:, 1] - self.xy[i, 1]
            along, across = dx * cos + dy * sin, dy * cos - dx * sin
            bend = np.gradient(self.heading, STEP)[i]
            s = i * STEP + along / np.maximum(1 - bend * across, 0.3)
            i = np.clip(np.rint(s / STEP), 0, len(self.xy) - 1).astype(int)
        over = np.maximum(s - self.length, 0) + np.maximum(-s, 0)
        return np.clip(s, 0, self.length), across + np.copysign(over, across)


def nearest_vertex(
    xy: Float[np.ndarray, "points 2"], curve: Float[np.ndarray, "vertices 2"]
) -> Int[np.ndarray, " points"]:
    """Index of the vertex nearest to each point."""
    gap = (xy[:, None, 0] - curve[None, :, 0]) ** 2 + (xy[:, None, 1] - curve[None, :, 1]) ** 2
    return gap.argmin(1)


class NearbyRoads:
    """The roads around a place, with a grid of their nearest vertices, so that many points project fast."""

    def __init__(self, roads: list[Road], center: Float[np.ndarray, " 2"], radius: float) -> None:
        self.size = int(np.ceil(2 * radius / _CELL)) + 1
        self.corner = np.asarray(center, float) - radius
        line = np.arange(self.size) * _CELL + _CELL / 2
        cells = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2) + self.corner
        self.roads: list[Road] = []
        self.index: list[int] = []
        self._first: list[np.ndarray] = []
        for k, road in enumerate(roads):
            reach = np.abs(road.xy - center).max(1) < radius + 40
            if reach.any():
                start, stop = np.flatnonzero(reach)[[0, -1]]
                self.roads.append(road)
                self.index.append(k)
                self._first.append(start + nearest_vertex(cells, road.xy[start : stop + 1]))

    def project(self, xy: Float[np.ndarray, "points 2"]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Road coordinates (s, d) of the points for each nearby road; points outside are taken to the border."""
        cell = np.clip(((xy - self.corner) / _CELL).astype(int), 0, self.size - 1)
        flat = cell[:, 0] * self.size + cell[:, 1]
        return [road.project(xy, first[flat]) for road, first in zip(self.roads, self._first, strict=True)]


def winding_curve(
    length: float, start: tuple[float, float, float], bends: Float[np.ndarray, "waves 3"]
) -> tuple[Float[np.ndarray, "vertices 2"], Float[np.ndarray, " vertices"]]:
    """Vertices and headings of a curve whose heading is a sum of sine waves.

    Args:
        length: in metres.
        start: x, y in metres and heading in radians at the start.
        bends: amplitude in radians, wave length in metres and phase in radians of each wave.
    """
    s = np.arange(int(np.ceil(length / STEP)) + 1) * STEP
    waves = [a * (np.sin(2 * np.pi * s / w + p) - np.sin(p)) for a, w, p in bends]
    heading = start[2] + np.sum(waves, axis=0) if len(bends) else np.full(len(s), start[2])
    middle = (heading[1:] + heading[:-1]) / 2
    steps = STEP * np.stack([np.cos(middle), np.sin(middle)], 1)
    xy = np.array(start[:2]) + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)])
    return xy, heading
