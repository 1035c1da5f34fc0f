"""The ground: a height field with hills, kerbs and banks, its styles, and where rays meet it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from clusterseg.synthetic.roads import NearbyRoads, Road

_KERB = 0.12
_CAMBER = 0.025
_BANK_RUN = 9.0
_NEAREST = 2.0
_RINGS = 220
_PROFILES = 720
_LINE = 0.14
_STYLES = ("parking_style", "verge_style", "pavement_style", "lot_style")
_COLUMNS = ("parking", "verge", "pavement", "bank", "lot_edge", "middle", *_STYLES)


class Style(NamedTuple):
    """A kind of ground: its instance id and its material."""

    instance: int
    material: int


class Place(NamedTuple):
    """Position of points relative to the nearest carriageway; all arrays are (points,).

    `road` is the index among the nearby roads, `s` and `d` are road coordinates, `block` the block on that side,
    `out` the distance from the carriageway's edge in metres, negative on it.
    """

    road: Int[np.ndarray, " points"]
    s: Float[np.ndarray, " points"]
    d: Float[np.ndarray, " points"]
    block: Int[np.ndarray, " points"]
    out: Float[np.ndarray, " points"]


@dataclass(frozen=True)
class Ground:
    """The whole ground of a town.

    Attributes:
        roads: Every road.
        hills: Amplitude (m), wave vector (rad/m, rad/m) and phase of each wave of the relief (waves, 4).
        styles: (styles, 2) instance id and material of each style.
    """

    roads: list[Road]
    hills: Float[np.ndarray, "waves 4"]
    styles: Int[np.ndarray, "styles 2"]

    def around(self, center: Float[np.ndarray, " 2"], radius: float) -> LocalGround:
        """The ground within `radius` metres of a place, ready for many look-ups."""
        return LocalGround(self, NearbyRoads(self.roads, center, radius))

    def relief(self, xy: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, " points"]:
        """Height of the hills alone, in metres."""
        height = np.zeros(len(xy))
        for amplitude, kx, ky, phase in self.hills:
            height += amplitude * np.sin(kx * xy[:, 0] + ky * xy[:, 1] + phase)
        return height


class LocalGround:
    """The ground around a place; see `Ground.around`."""

    def __init__(self, ground: Ground, nearby: NearbyRoads) -> None:
        self.ground = ground
        self._nearby = nearby
        sides = [(road.right, road.left) for road in nearby.roads]
        self._starts = [b.start for pair in sides for b in pair]
        counts = [len(b.start) for pair in sides for b in pair]
        self._first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(int)
        side = np.repeat(np.arange(len(counts)), counts)
        rows = np.arange(len(side))
        self._next = np.where(np.append(side[1:], -1) == side, rows + 1, rows)
        self._previous = np.where(np.insert(side[:-1], 0, -1) == side, rows - 1, rows)
        self._blocks = {name: np.concatenate([getattr(b, name) for pair in sides for b in pair]) for name in _COLUMNS}

    def locate(self, xy: Float[np.ndarray, "points 2"]) -> Place:
        """Road coordinates on the road whose carriageway is nearest."""
        road, block = np.zeros(len(xy), int), np.zeros(len(xy), int)
        s, d, out = np.zeros(len(xy)), np.zeros(len(xy)), np.full(len(xy), np.inf)
        for k, rows, s_k, d_k in self._nearby.project(xy):
            out_k = np.abs(d_k) - self._nearby.roads[k].half_width
            nearer = out_k < out[rows]
            mine = rows[nearer]
            road[mine], s[mine], d[mine], out[mine] = k, s_k[nearer], d_k[nearer], out_k[nearer]
        side = 2 * road + (d > 0)
        for each in np.flatnonzero(np.bincount(side)):
            mine = np.flatnonzero(side == each)
            found = np.searchsorted(self._starts[each], s[mine], "right") - 1
            block[mine] = self._first[each] + np.maximum(found, 0)
        return Place(road, s, d, block, out)

    def lot_distance(self, xy: Float[np.ndarray, "points 2"]) -> Float[np.ndarray, " points"]:
        """Distance in metres from the outer edge of the pavement; negative on it and on the road."""
        place = self.locate(xy)
        return place.out - self._blocks["lot_edge"][place.block]

    def height(self, xy: Float[np.ndarray, "points 2"], place: Place | None = None) -> np.ndarray:
        """Height (points,) in metres: hills, a cambered road, a kerb beside it, a bank in the lots."""
        place = place or self.locate(xy)
        b = self._blocks
        beyond = place.out - b["parking"][place.block]
        kerb = _KERB * np.clip(beyond / 0.1 + 0.5, 0, 1)
        run = np.clip((place.out - b["lot_edge"][place.block]) / _BANK_RUN, 0, 1)
        bank = self._bank(place) * run * run * (3 - 2 * run)
        half = np.array([road.half_width for road in self._nearby.roads])[place.road]
        camber = -_CAMBER * np.minimum(place.out + half, half)
        return self.ground.relief(xy) + camber + kerb + bank

    def _bank(self, place: Place) -> np.ndarray:
        """Height of the lots, interpolated linearly between the middles of neighbouring blocks."""
        i, middle = place.block, self._blocks["middle"]
        j = np.where(place.s > middle[i], self._next[i], self._previous[i])
        share = np.abs(place.s - middle[i]) / np.maximum(np.abs(middle[j] - middle[i]), 1.0)
        share = np.where(i == j, 0.0, share)
        bank = self._blocks["bank"]
        return bank[i] * (1 - share) + bank[j] * share

    def style(self, xy: Float[np.ndarray, "points 2"]) -> Int[np.ndarray, " points"]:
        """Index of the ground style at each point."""
        place = self.locate(xy)
        b, i = self._blocks, place.block
        parking, verge, pavement = (b[name][i] for name in ("parking", "verge", "pavement"))
        roads = self._nearby.roads
        road_style = np.array([road.style for road in roads])[place.road]
        line_style = np.array([road.marking_style for road in roads])[place.road]
        return np.select(
            [
                (place.out < 0) & self._on_line(place),
                place.out < 0,
                place.out < parking,
                place.out < parking + verge,
                place.out < parking + verge + pavement,
            ],
            [line_style, road_style, b["parking_style"][i], b["verge_style"][i], b["pavement_style"][i]],
            b["lot_style"][i],
        )

    def _on_line(self, place: Place) -> np.ndarray:
        """Painted lines: solid ones at the edges, dashed ones (3 m on, 6 m off) between lanes."""
        roads = self._nearby.roads
        half = np.array([road.half_width for road in roads])[place.road]
        lanes = np.array([road.lanes for road in roads])[place.road]
        edge = (np.abs(np.abs(place.d) - half + 0.35) < _LINE / 2) & (lanes > 0)
        width = 2 * half / np.maximum(lanes, 1)
        offset = (place.d + half) / width
        between = np.abs(offset - np.rint(offset)) * width < _LINE / 2
        inner = (np.rint(offset) > 0) & (np.rint(offset) < lanes)
        return edge | (between & inner & (place.s % 9 < 3))

    def cast(
        self, origin: Float[np.ndarray, " 3"], rays: Float[np.ndarray, "beams azimuths 3"], max_range: float
    ) -> Float[np.ndarray, "beams azimuths"]:
        """Distance along each ray to the ground, in metres; inf beyond `max_range` and for rays that miss.

        Heights are sampled on rings around the origin. Along a profile the largest elevation angle so far grows
        monotonically, so the first ring that rises to a ray is found by bisection; the crossing is linear between
        two rings and then corrected with the height at the ray's own azimuth.

        Args:
            origin: Sensor position in the world frame.
            rays: Unit directions in the world frame.
            max_range: In metres.
        """
        profiles = max(rays.shape[1] // 2, _PROFILES)
        ring = np.geomspace(_NEAREST, max_range * 1.02, _RINGS)
        azimuth = np.arange(profiles) * (2 * np.pi / profiles)
        x = origin[0] + ring * np.cos(azimuth)[:, None]
        y = origin[1] + ring * np.sin(azimuth)[:, None]
        height = self.height(np.stack([x.ravel(), y.ravel()], 1)).reshape(profiles, _RINGS) - origin[2]
        horizon = np.maximum.accumulate(height / ring, axis=1)

        flat = rays.reshape(-1, 3).astype(float)
        level = np.hypot(flat[:, 0], flat[:, 1])
        rise = flat[:, 2] / level
        column = np.rint(np.arctan2(flat[:, 1], flat[:, 0]) * (profiles / (2 * np.pi))).astype(int) % profiles
        # one sorted list of all profiles: 10 is more than any two slopes differ by
        keys = (np.clip(horizon, -4, 4) + 10 * np.arange(profiles)[:, None]).ravel()
        found = np.searchsorted(keys, np.clip(rise, -4, 4) + 10 * column) - column * _RINGS
        outer = np.clip(found, 1, _RINGS - 1)
        r0, r1 = ring[outer - 1], ring[outer]
        h0, h1 = height[column, outer - 1], height[column, outer]
        slope = (h1 - h0) / (r1 - r0)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(found == 0, height[column, 0] / rise, (h0 - r0 * slope) / (rise - slope))
            hit = (found < _RINGS) & np.isfinite(reach) & (reach > 0)
            reach = np.where(hit, reach, _NEAREST)
            point = origin[:2] + (reach / level)[:, None] * flat[:, :2]
            error = self.height(point) - origin[2] - reach * rise
            shift = np.clip(error / (rise - slope), -(r1 - r0), r1 - r0)
        reach = reach + np.where(np.isfinite(shift), shift, 0)
        depth = np.where(hit & (reach / level < max_range), reach / level, np.inf)
        return depth.reshape(rays.shape[:2])
