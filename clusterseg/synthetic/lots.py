"""Objects in the lots beside a road, by kind of lot."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clusterseg.synthetic.buildings import building, fence, hoarding
from clusterseg.synthetic.furniture import bench, cabinet, litter_bin
from clusterseg.synthetic.labels import Raw
from clusterseg.synthetic.materials import M
from clusterseg.synthetic.people import bicycle, motorcycle
from clusterseg.synthetic.plants import bush, crown, hedge, trunk
from clusterseg.synthetic.roads import Road
from clusterseg.synthetic.site import Site, facing
from clusterseg.synthetic.vehicles import car, other_vehicle, other_vehicle_raw, truck


class Lot(NamedTuple):
    """A block beside a road: from `start` to `stop` along it, beginning `edge` metres from the carriageway."""

    road: Road
    side: int
    start: float
    stop: float
    edge: float

    def spot(self, share: float, depth: float) -> tuple[float, float, float]:
        """The place at a share of the length and a depth in metres, facing the road."""
        return facing(self.road, self.start + share * (self.stop - self.start), self.side, self.edge + depth)


def fill_lot(site: Site, lot: Lot, kind: str, rng: np.random.Generator) -> None:
    """Put the things of one lot, its boundary to the road first."""
    if kind in ("house", "yard", "park") and rng.random() < 0.7:
        _boundary(site, lot, rng)
    {
        "terrace": _terrace, "house": _house, "estate": _estate, "yard": _yard, "park": _park,
        "wood": _wood, "field": _field, "plaza": _plaza, "carpark": _carpark,
    }[kind](site, lot, rng)  # fmt: skip
    _backdrop(site, lot, rng)


def _build(
    site: Site, lot: Lot, modes: tuple[str, ...], setback: float, depth: float, fill: float, rng: np.random.Generator
) -> None:
    mode = site.register.draw("building", rng, modes)
    width = max((lot.stop - lot.start) * fill, 3.0)
    x, y, heading = lot.spot(0.5, setback + depth / 2)
    corners = np.array([(a, b) for a in (-width / 2, 0, width / 2) for b in (-depth / 2, depth / 2)])
    cos, sin = np.cos(heading), np.sin(heading)
    world = corners @ np.array([[cos, sin], [-sin, cos]]) + (x, y)
    if site.clear(world, -0.2) and site.claim(x, y, 0.4 * min(width, depth)):
        site.put(building(mode, width, depth, rng), Raw.BUILDING, mode, (x, y, heading))


def _boundary(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    """A fence or a hedge along the road, in straight pieces that follow the curve."""
    pieces = max(1, round((lot.stop - lot.start) / 7))
    length = (lot.stop - lot.start) / pieces
    green = rng.random() < 0.55
    mode = "hedge" if green else site.register.draw("fence", rng)
    height = float(rng.uniform(0.9, 2.8))
    depth = float(rng.uniform(0.4, 3.0))
    gap = int(rng.integers(pieces + 1))
    for k in range(pieces):
        place = lot.spot((k + 0.5) / pieces, depth)
        if k == gap or not site.clear(np.array([place[:2]]), 0.1):
            continue
        if green:
            site.put(hedge(length, height, rng), Raw.VEGETATION, mode, place)
        else:
            site.put(fence(mode, length, rng), Raw.FENCE, mode, place)


def put_hoarding(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    """A closed fence at the edge of a lot, 1.5 to 2.6 m high, with short sides that lead away from the road."""
    height, depth = float(rng.uniform(1.5, 2.6)), float(rng.uniform(0.1, 0.8))
    surface = (M.WOOD, M.SHEET, M.WALL, M.SLATS)[int(rng.integers(4))]
    whole = lot.stop - lot.start
    span = float(rng.uniform(0.3, 0.95)) * whole
    start = float(rng.uniform(0, whole - span))
    pieces = max(1, round(span / 7))
    stretches = [(lot.spot((start + (k + 0.5) * span / pieces) / whole, depth), span / pieces) for k in range(pieces)]
    for end in (start, start + span):
        back = float(rng.uniform(2, 7))
        x, y, heading = lot.spot(end / whole, depth + back / 2)
        stretches.append(((x, y, heading + np.pi / 2), back))
    for place, length in stretches:
        middle, heading = np.array(place[:2]), place[2]
        reach = length / 2 * np.array([np.cos(heading), np.sin(heading)])
        if site.clear(np.stack([middle - reach, middle + reach]), 0.0):
            site.put(hoarding(length, height, surface, rng), Raw.FENCE, "panel", place)


def put_tree(site: Site, place: tuple[float, float, float], rng: np.random.Generator) -> None:
    """A tree: trunk and crown are two things with a mode each."""
    leaf = site.register.draw("vegetation", rng, ("broadleaf", "conifer"))
    stem = site.register.draw("trunk", rng)
    bottom = float(rng.uniform(0.4, 1.2) if leaf == "conifer" else rng.uniform(1.4, 2.8))
    x, y, _ = place
    if site.off_road(x, y) and site.claim(x, y, 0.7):
        groups = [
            (trunk(stem, bottom + 1.5, rng), Raw.TRUNK, stem),
            (crown(leaf, bottom, rng), Raw.VEGETATION, leaf),
        ]
        site.put_groups(groups, (x, y, float(rng.uniform(0, 2 * np.pi))))


def _plant(site: Site, lot: Lot, trees: int, bushes: int, rng: np.random.Generator, near: float = 1.2) -> None:
    for _ in range(trees):
        place = lot.spot(rng.random(), rng.uniform(near + 0.5, 24))
        if site.clear(np.array([place[:2]]), 0.5):
            put_tree(site, place, rng)
    for _ in range(bushes):
        place = lot.spot(rng.random(), rng.uniform(near, 20))
        mode = site.register.draw("vegetation", rng, ("bush", "scrub"))
        if site.clear(np.array([place[:2]]), 0.8) and site.claim(*place[:2], 0.8):
            site.put(bush(mode, rng), Raw.VEGETATION, mode, place)


def _backdrop(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    """Trees and high buildings far behind, which close the view."""
    if rng.random() < 0.3:
        _build(site, lot, ("terrace", "block", "hall"), 24, 12, 0.9, rng)
    for _ in range(int(rng.integers(1, 4))):
        place = lot.spot(rng.random(), rng.uniform(22, 40))
        if site.clear(np.array([place[:2]]), 1.0):
            put_tree(site, place, rng)


def _terrace(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    _build(site, lot, ("terrace", "block"), float(rng.uniform(0.2, 2.5)), 10, 1.0, rng)


def _house(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    _build(site, lot, ("detached", "terrace", "shed"), float(rng.uniform(4, 11)), 9, float(rng.uniform(0.5, 0.8)), rng)
    _plant(site, lot, int(rng.integers(0, 3)), int(rng.integers(2, 7)), rng)
    if rng.random() < 0.3:
        place = lot.spot(0.06, 9)
        if site.clear(np.array([place[:2]])):
            site.put(building("shed", 3, 4, rng), Raw.BUILDING, "shed", place)


def _estate(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    _build(site, lot, ("block",), float(rng.uniform(4, 9)), 12, 0.9, rng)
    _plant(site, lot, int(rng.integers(0, 3)), int(rng.integers(1, 4)), rng)


def _yard(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    _build(site, lot, ("hall", "shed"), float(rng.uniform(9, 14)), 14, 0.9, rng)
    for _ in range(int(rng.integers(1, 4))):
        _park_vehicle(site, lot.spot(rng.uniform(0.1, 0.9), rng.uniform(3, 8)), rng, heavy=0.8)


def _park(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    _plant(site, lot, int(rng.integers(3, 8)), int(rng.integers(3, 9)), rng, near=2.0)
    put_object(site, lot.spot(rng.random(), 1.6), rng)


def _wood(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    _plant(site, lot, int(rng.integers(6, 14)), int(rng.integers(10, 22)), rng, near=2.5)


def _field(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    _plant(site, lot, int(rng.integers(0, 3)), int(rng.integers(1, 6)), rng, near=4.0)
    if rng.random() < 0.5:
        place = lot.spot(0.5, 16)
        if site.clear(np.array([place[:2]]), 1):
            site.put(hedge(lot.stop - lot.start, 2.2, rng), Raw.VEGETATION, "hedge", place)


def _plaza(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(2, 5))):
        put_object(site, lot.spot(rng.random(), rng.uniform(1, 8)), rng)
    put_bikes(site, lot, rng, depth=2.0)
    _plant(site, lot, int(rng.integers(0, 4)), 0, rng)
    _build(site, lot, ("hall", "block", "terrace"), float(rng.uniform(10, 16)), 10, 0.95, rng)


def _carpark(site: Site, lot: Lot, rng: np.random.Generator) -> None:
    for depth in (3.0, 9.5):
        for at in np.arange(1.8, lot.stop - lot.start - 1.5, 2.7):
            if rng.random() < 0.55:
                x, y, heading = lot.spot(at / (lot.stop - lot.start), depth)
                _park_vehicle(site, (x, y, heading + rng.choice((-1, 1)) * np.pi / 2), rng, heavy=0.05)
    _build(site, lot, ("hall", "block"), 18, 10, 0.9, rng)


def _park_vehicle(site: Site, place: tuple[float, float, float], rng: np.random.Generator, heavy: float) -> None:
    x, y, heading = place
    ends = np.array([(x + k * np.cos(heading), y + k * np.sin(heading)) for k in (-2.0, 2.0)])
    if not site.clear(ends, 0.6) or not site.claim(x, y, 1.2):
        return
    if rng.random() < heavy:
        put_heavy(site, place, rng)
    else:
        mode = site.register.draw("car", rng)
        site.put(car(mode, rng), Raw.CAR, mode, place)


def put_heavy(site: Site, place: tuple[float, float, float], rng: np.random.Generator) -> None:
    """A parked truck or other vehicle."""
    if rng.random() < 0.45:
        mode = site.register.draw("truck", rng)
        site.put(truck(mode, rng), Raw.TRUCK, mode, place)
    else:
        mode = site.register.draw("other-vehicle", rng, ("trailer", "caravan", "tractor"))
        site.put(other_vehicle(mode, rng), other_vehicle_raw(mode), mode, place)


def put_bikes(site: Site, lot: Lot, rng: np.random.Generator, depth: float) -> None:
    """A few bicycles and motorcycles side by side."""
    share = rng.uniform(0.1, 0.9)
    for k in range(int(rng.integers(1, 5))):
        x, y, heading = lot.spot(share + 0.9 * k / (lot.stop - lot.start), depth)
        place = x, y, heading + np.pi / 2 + float(rng.normal(0, 0.1))
        if not site.off_road(x, y):
            continue
        if rng.random() < 0.7:
            mode = site.register.draw("bicycle", rng)
            site.put(bicycle(mode, rng), Raw.BICYCLE, mode, place)
        else:
            mode = site.register.draw("motorcycle", rng)
            site.put(motorcycle(mode, rng), Raw.MOTORCYCLE, mode, place)


def put_object(site: Site, place: tuple[float, float, float], rng: np.random.Generator) -> None:
    """A bin, a bench or a cabinet: objects that the benchmark does not score."""
    if site.off_road(*place[:2]) and site.claim(*place[:2], 0.5):
        thing = (litter_bin, bench, cabinet)[int(rng.integers(3))]
        site.put(thing(rng), Raw.OTHER_OBJECT, "", place)
