"""The building site: puts things on the ground of a town, clear of the roads and of each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from clusterseg.synthetic.ground import Ground, LocalGround
from clusterseg.synthetic.labels import Raw
from clusterseg.synthetic.modes import ModeRegister
from clusterseg.synthetic.roads import Road
from clusterseg.synthetic.solids import Part, Solids, rotation

_TILE = 64.0


class Site:
    """Collects the standing things of one town.

    Attributes:
        ground: Of the town.
        register: Gives instance ids.
    """

    def __init__(self, ground: Ground, register: ModeRegister) -> None:
        self.ground = ground
        self.register = register
        self._tiles: dict[tuple[int, int], LocalGround] = {}
        self._solids: list[Solids] = []
        self._taken: dict[tuple[int, int], list[tuple[float, float, float]]] = {}

    def near(self, x: float, y: float) -> LocalGround:
        """The ground around a place, good for 30 metres in each direction."""
        key = round(x / _TILE), round(y / _TILE)
        if key not in self._tiles:
            center = np.array(key) * _TILE
            self._tiles[key] = self.ground.around(center, _TILE / 2 + 30)
        return self._tiles[key]

    def clear(self, xy: Float[np.ndarray, "points 2"], margin: float = 0.3) -> bool:
        """Whether all points lie in lots, at least `margin` metres from pavement, verge, parking lane and road."""
        return bool((self.near(*xy.mean(0)).lot_distance(xy) > margin).all())

    def off_road(self, x: float, y: float) -> bool:
        """Whether a place in metres is on no carriageway, be it of a crossing road."""
        return bool(self.near(x, y).locate(np.array([[x, y]])).out[0] > 0.3)

    def claim(self, x: float, y: float, radius: float) -> bool:
        """Take a disc of the ground; False, and nothing taken, where it overlaps another one. In metres."""
        cell = int(x // 16), int(y // 16)
        around = [(cell[0] + i, cell[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        for key in around:
            for ox, oy, other in self._taken.get(key, ()):
                if (x - ox) ** 2 + (y - oy) ** 2 < (radius + other) ** 2:
                    return False
        self._taken.setdefault(cell, []).append((x, y, radius))
        return True

    def put(self, parts: Sequence[Part], raw: Raw, mode: str, place: tuple[float, float, float]) -> None:
        """A thing of one class at a place (x, y in metres, heading in radians), standing on the ground."""
        self.put_groups([(parts, raw, mode)], place)

    def put_groups(self, groups: Sequence[tuple[Sequence[Part], Raw, str]], place: tuple[float, float, float]) -> None:
        """A thing of several classes, such as a tree: (parts, raw id, mode) of each."""
        x, y, heading = place
        ground = float(self.near(x, y).height(np.array([[x, y]]))[0])
        turn = rotation(heading)
        for parts, raw, mode in groups:
            solids = Solids.assemble(parts, self.register.add(raw, mode))
            self._solids.append(solids.placed(np.array([x, y, ground]), turn))

    def solids(self) -> Solids:
        """Everything put so far."""
        return Solids.concat(self._solids)


def facing(road: Road, s: float, side: int, out: float) -> tuple[float, float, float]:
    """A place beside a road whose -y points at the road.

    Args:
        road: The road.
        s: Along it, in metres.
        side: 1 to the left, -1 to the right.
        out: Distance from the edge of the carriageway, in metres.
    """
    x, y, heading = road.at(s, side * (road.half_width + out))
    return x, y, heading if side > 0 else heading + np.pi
