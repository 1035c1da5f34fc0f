"""Traffic: vehicles, riders and people that move between scans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clusterseg.synthetic.character import Character
from clusterseg.synthetic.ground import LocalGround
from clusterseg.synthetic.labels import MOVING, Raw
from clusterseg.synthetic.modes import ModeRegister
from clusterseg.synthetic.people import bicyclist, motorcyclist, person
from clusterseg.synthetic.roads import Road
from clusterseg.synthetic.solids import Part, Solids, rotation
from clusterseg.synthetic.vehicles import car, other_vehicle, other_vehicle_raw, truck

_RIDES = ("car", "truck", "other-vehicle", "motorcyclist", "bicyclist")
_RIDE_SHARE = (0.5, 0.07, 0.09, 0.16, 0.18)


@dataclass(frozen=True)
class Mover:
    """A thing that follows a road at a constant speed and starts anew at its other end.

    Attributes:
        solids: In its own frame.
        road: Index of the road.
        s: Place along the road at time 0, in metres.
        d: Place to the left of the road's centre, in metres.
        speed: Along the road, in metres per second; negative against its direction.
        wraps: False for movers that stay around the ego vehicle and never reach the end.
    """

    solids: Solids
    road: int
    s: float
    d: float
    speed: float
    wraps: bool = True

    def placed(self, roads: list[Road], ground: LocalGround, time: float) -> tuple[np.ndarray, np.ndarray]:
        """World position (3,) and axes (3, 3) after `time` seconds."""
        road = roads[self.road]
        s = self.s + self.speed * time
        x, y, heading = road.at(s % road.length if self.wraps else s, self.d)
        height = float(ground.height(np.array([[x, y]]))[0])
        return np.array([x, y, height]), rotation(heading + (np.pi if self.speed < 0 else 0.0))


def start_traffic(
    roads: list[Road], character: Character, start: float, register: ModeRegister, rng: np.random.Generator
) -> list[Mover]:
    """Everything that is under way in a town.

    Args:
        roads: The main road first; traffic keeps to the right.
        character: Density and speed.
        start: Where the ego vehicle is at time 0, in metres along the main road.
        register: Gives instance ids.
        rng: Of the town.
    """
    movers = []
    lane = roads[0].half_width / max(roads[0].lanes, 1)
    for offset in (-30.0, 18.0, 45.0):
        kind = str(rng.choice(_RIDES, p=_RIDE_SHARE))
        rider = kind in ("bicyclist", "motorcyclist")
        out = lane * 1.6 if kind == "bicyclist" else lane
        at = start + offset * (0.5 if rider else 1.0) + rng.uniform(-4, 8)
        movers.append(_ride(kind, 0, at, -out, character.speed, False, register, rng))
    for index, road in enumerate(roads):
        lane = road.half_width / max(road.lanes, 2)
        for _ in range(rng.poisson(character.traffic * road.length)):
            kind = str(rng.choice(_RIDES, p=_RIDE_SHARE))
            back = index == 0 or rng.random() < 0.5
            slow = 4.5 if kind == "bicyclist" else character.speed * rng.uniform(0.6, 1.1)
            place = rng.uniform(0, road.length), lane if back else -lane
            movers.append(_ride(kind, index, *place, -slow if back else slow, True, register, rng))
        for _ in range(rng.poisson(character.walkers * road.length)):
            movers.append(_walker(index, road, register, rng))
    return movers


def _ride(
    kind: str,
    road: int,
    s: float,
    d: float,
    speed: float,
    wraps: bool,
    register: ModeRegister,
    rng: np.random.Generator,
) -> Mover:
    only = ("bus", "trailer", "tram") if kind == "other-vehicle" else ()
    mode = register.draw(kind, rng, only)
    build: dict[str, tuple[Callable[[str, np.random.Generator], list[Part]], Raw]] = {
        "car": (car, Raw.CAR),
        "truck": (truck, Raw.TRUCK),
        "other-vehicle": (other_vehicle, other_vehicle_raw(mode)),
        "motorcyclist": (motorcyclist, Raw.MOTORCYCLIST),
        "bicyclist": (bicyclist, Raw.BICYCLIST),
    }
    builder, raw = build[kind]
    solids = Solids.assemble(builder(mode, rng), register.add(MOVING[raw], mode))
    return Mover(solids, road, s, d, speed, wraps)


def _walker(index: int, road: Road, register: ModeRegister, rng: np.random.Generator) -> Mover:
    """Someone on a pavement, or on the shoulder where there is none."""
    mode = register.draw("person", rng)
    solids = Solids.assemble(person(mode, rng), register.add(MOVING[Raw.PERSON], mode))
    side = int(rng.choice((-1, 1)))
    s, speed = rng.uniform(0, road.length), rng.choice((-1, 1)) * rng.uniform(0.9, 1.6)
    blocks = road.left if side > 0 else road.right
    block = max(int(np.searchsorted(blocks.start, s, "right")) - 1, 0)
    out = blocks.parking[block] + blocks.verge[block] + max(0.6 * blocks.pavement[block], 0.3)
    return Mover(solids, index, float(s), side * (road.half_width + float(out)), float(speed))
