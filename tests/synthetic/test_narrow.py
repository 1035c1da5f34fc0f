"""Old quarters: the setting changes the towns that it falls on and no other, and their streets are narrow."""

import numpy as np

from clusterseg.synthetic.town import build_town


def layout(town):
    main = town.ground.roads[0]
    return [main.xy, main.left.pavement, main.right.pavement, town.solids.center]


def test_towns_are_old_quarters_or_as_they_were():
    were, narrow = [], []
    for sequence in range(8):
        plain = build_town(2, sequence, 1.0)
        some, more = (build_town(2, sequence, 1.0, narrow=share) for share in (0.4, 0.8))
        for town in (some, more):
            same = all(np.array_equal(a, b) for a, b in zip(layout(plain), layout(town), strict=True))
            assert same == (plain.character == town.character)
            (were if same else narrow).append(sequence)
        assert some.character in (plain.character, more.character), "a larger share takes other towns"
    assert were
    assert narrow


def test_streets_are_narrow_and_pavements_wide():
    pavements = []
    for sequence in range(6):
        main = build_town(2, sequence, 1.0, narrow=1.0).ground.roads[0]
        assert 2.4 <= main.half_width <= 3.6
        assert all((side.pavement > 0).all() for side in (main.left, main.right))
        pavements += [*main.left.pavement, *main.right.pavement]
    assert 1.6 <= min(pavements) <= max(pavements) <= 7.0
    assert np.median(pavements) > 3.5
