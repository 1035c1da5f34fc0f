"""Objects between carriageway and lot: parked cars, poles, signs, trees, bicycles, people."""

from __future__ import annotations

import numpy as np

from clusterseg.synthetic.furniture import pole, shelter, sign
from clusterseg.synthetic.labels import Raw
from clusterseg.synthetic.lots import Lot, put_bikes, put_heavy, put_object, put_tree
from clusterseg.synthetic.people import motorcycle, person
from clusterseg.synthetic.roads import Blocks
from clusterseg.synthetic.site import Site, facing
from clusterseg.synthetic.vehicles import car


def line_kerb(site: Site, lot: Lot, blocks: Blocks, block: int, rng: np.random.Generator) -> None:
    """Put the things along the kerb of one block.

    Args:
        site: Where to.
        lot: The block as a lot; kerb things stand in front of its edge.
        blocks: The side of the road.
        block: Which of its blocks.
        rng: Of the block.
    """
    parking, verge, pavement = (float(c[block]) for c in (blocks.parking, blocks.verge, blocks.pavement))
    if parking:
        _parked(site, lot, parking, rng)
    back = parking + verge + max(pavement - 0.4, 0.2)
    front = parking + 0.4
    _poles(site, lot, front if pavement else front + 0.8, rng)
    if verge > 1 and rng.random() < 0.5:
        for s in np.arange(lot.start + 2, lot.stop, 8.0):
            put_tree(site, facing(lot.road, s, lot.side, parking + verge / 2), rng)
    if not pavement:
        return
    if rng.random() < 0.35:
        put_object(site, facing(lot.road, rng.uniform(lot.start, lot.stop), lot.side, back), rng)
    if rng.random() < 0.12:
        put_bikes(site, lot, rng, depth=-0.5)
    for _ in range(int(rng.poisson(0.07))):
        mode = site.register.draw("person", rng)
        x, y, _ = facing(lot.road, rng.uniform(lot.start, lot.stop), lot.side, parking + verge + 0.5 * pavement)
        if site.off_road(x, y):
            site.put(person(mode, rng), Raw.PERSON, mode, (x, y, float(rng.uniform(0, 2 * np.pi))))
    if pavement > 2 and rng.random() < 0.06:
        place = facing(lot.road, (lot.start + lot.stop) / 2, lot.side, back - 0.6)
        if not site.off_road(*place[:2]):
            return
        site.put(shelter(rng), Raw.OTHER_STRUCTURE, "", place)


def _parked(site: Site, lot: Lot, parking: float, rng: np.random.Generator) -> None:
    """A row of parked vehicles with gaps, clear of crossing roads."""
    s = lot.start + 2.5
    while s < lot.stop - 2.5:
        x, y, heading = facing(lot.road, s, lot.side, parking / 2)
        ends = [facing(lot.road, s + k, lot.side, parking / 2)[:2] for k in (-4.0, 0.0, 4.0)]
        place = site.near(x, y).locate(np.array(ends))
        if (place.out > 0.5).all() and rng.random() < 0.33 and site.claim(x, y, 1.2):
            turn = heading + np.pi * (rng.random() < 0.9)
            kind = rng.random()
            if kind < 0.04:
                put_heavy(site, (x, y, turn), rng)
                s += 4
            elif kind < 0.08:
                mode = site.register.draw("motorcycle", rng)
                site.put(motorcycle(mode, rng), Raw.MOTORCYCLE, mode, (x, y, turn + 0.7))
            else:
                mode = site.register.draw("car", rng)
                site.put(car(mode, rng), Raw.CAR, mode, (x, y, turn))
        s += rng.uniform(5.4, 6.6)


def _poles(site: Site, lot: Lot, out: float, rng: np.random.Generator) -> None:
    """Lamps and posts; a sign hangs on a pole of its own and faces the traffic of its side."""
    for s in np.arange(lot.start + rng.uniform(0, 9), lot.stop, 19.0):
        x, y, heading = facing(lot.road, s, lot.side, out)
        if not site.off_road(x, y) or not site.claim(x, y, 0.3):
            continue
        if rng.random() < 0.42:
            mode = site.register.draw("traffic-sign", rng)
            travel = heading if lot.side < 0 else heading + np.pi
            post = (pole("post", rng), Raw.POLE, "post")
            # traffic keeps to the right: on the right-hand side it comes along the road's own direction
            turn = travel + np.pi if lot.side < 0 else travel
            site.put_groups([post, (sign(mode, rng), Raw.TRAFFIC_SIGN, mode)], (x, y, turn))
        else:
            mode = site.register.draw("pole", rng)
            site.put(pole(mode, rng), Raw.POLE, mode, (x, y, heading))
