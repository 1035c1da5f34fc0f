"""Closed fences beside the pavement: they come on top of a town and stand in its lots."""

import numpy as np
import pytest

from clusterseg.synthetic.labels import Raw
from clusterseg.synthetic.solids import Kind
from clusterseg.synthetic.town import build_town


@pytest.fixture(scope="module")
def towns():
    return build_town(2, 7, 5.0), build_town(2, 7, 5.0, hoardings=0.5)


def rows(solids):
    return [tuple(row) for row in np.column_stack([solids.center, solids.half, solids.material, solids.tint]).round(9)]


def test_the_rest_of_the_town_is_the_same(towns):
    plain, fenced = (set(rows(town.solids)) for town in towns)
    assert plain < fenced
    assert len(towns[1].solids) - len(towns[0].solids) == len(fenced - plain) > 100


def test_they_are_fences_that_stand_in_lots(towns):
    plain, town = towns
    old = set(rows(plain.solids))
    new = town.solids.take(np.array([row not in old for row in rows(town.solids)]))
    assert {int(town.register.raw[k]) for k in new.instance} == {Raw.FENCE}
    boards = new.take((new.kind == Kind.BOX) & (new.half[:, 2] > 0.6))
    tops = []
    for center, half, axes in zip(boards.center, boards.half, boards.axes, strict=True):
        ground = town.ground.around(center[:2], 40.0)
        ends = center[:2] + np.outer((-1, 0, 1), half[0] * axes[:2, 0])
        assert (ground.locate(ends).out > 0).all(), "on a carriageway"
        assert (ground.lot_distance(ends) > -0.3).all(), "on the pavement"
        tops.append(center[2] + half[2] - ground.height(center[None, :2])[0])
    assert 1.2 < np.percentile(tops, 10) < np.percentile(tops, 90) < 2.8
