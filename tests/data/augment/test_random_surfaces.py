"""Random surfaces: one height and one factor for each class of a scan, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from made_scans import NAMES, Pair, assert_same, untouched

from clusterseg.data.augment import RandomSurfaces
from clusterseg.data.label_map import IGNORE_INDEX
from clusterseg.errors import UserError

HEIGHT = {"terrain": [-0.1, 0.3], "building": [0.2, 0.2]}
GAIN = {"road": [0.5, 2.0], "car": [0.1, 0.1], "terrain": [3.0, 9.0]}
MIX = RandomSurfaces(HEIGHT, GAIN).bound(NAMES)


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_loop_over_points(pair: Pair, seed: int) -> None:
    scan, before = pair[0], untouched(pair[0])
    got, again = (MIX(scan, None, np.random.default_rng(seed)) for _ in range(2))
    rng = np.random.default_rng(seed)
    rng.random()
    shift = {name: rng.uniform(*bounds) for name, bounds in HEIGHT.items()}
    factor = {name: np.exp(rng.uniform(*np.log(bounds))) for name, bounds in GAIN.items()}
    expected = scan.points.copy()
    for row, target in enumerate(scan.targets):
        name = "" if target == IGNORE_INDEX else NAMES[target]
        expected[row, 2] += shift.get(name, 0)
        if name in factor:
            expected[row, 3] = min(1.0, expected[row, 3] * factor[name])
    np.testing.assert_allclose(got.points, expected, atol=1e-6)
    assert_same(got, again)
    assert_same(scan, before)
    np.testing.assert_array_equal(got.targets, scan.targets)
    np.testing.assert_array_equal(got.instances, scan.instances)


def test_classes_without_bounds_and_ignored_points_stay_to_the_bit(pair: Pair) -> None:
    named = [NAMES.index(name) for name in {*HEIGHT, *GAIN}]
    rest = ~np.isin(pair[0].targets, named)
    got = MIX(pair[0], None, np.random.default_rng(0))
    assert rest.any() and (pair[0].targets[rest] == IGNORE_INDEX).any()
    np.testing.assert_array_equal(got.points[rest], pair[0].points[rest])


def test_a_factor_stays_within_its_bounds_and_is_even_in_its_logarithm(made_pair: Pair) -> None:
    scan = made_pair[0]
    row = int(np.flatnonzero((scan.targets == NAMES.index("road")) & (scan.points[:, 3] < 0.4))[0])
    drawn = [MIX(scan, None, np.random.default_rng(seed)).points[row, 3] / scan.points[row, 3] for seed in range(400)]
    assert 0.5 - 1e-5 <= min(drawn) < 0.55 and 1.8 < max(drawn) <= 2 + 1e-5
    assert 160 < sum(np.array(drawn) < 1) < 240  # half of them, give or take four standard deviations


def test_probability(made_pair: Pair) -> None:
    scan = made_pair[0]
    never, half = (RandomSurfaces(HEIGHT, GAIN, p).bound(NAMES) for p in (0.0, 0.5))
    assert_same(never(scan, None, np.random.default_rng(0)), scan)
    changed = sum(half(scan, None, np.random.default_rng(seed)) is not scan for seed in range(200))
    assert 70 < changed < 130
    assert not MIX.needs_other and not MIX.joins


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomSurfaces({"road": [0.2, 0.1]}), r"surfaces\.height\.road: got \[0\.2, 0\.1\]; expected two num"),
        (lambda: RandomSurfaces({"road": [0.2]}), r"surfaces\.height\.road: got \[0\.2\]"),
        (lambda: RandomSurfaces({"road": [0.0, float("nan")]}), r"surfaces\.height\.road: got \[0\.0, nan\]"),
        (lambda: RandomSurfaces({}, {"car": [0, 1]}), r"surfaces\.gain\.car: got \[0, 1\]; expected two numbers above"),
        (lambda: RandomSurfaces(probability=1.5), r"surfaces\.probability: got 1\.5"),
        (lambda: RandomSurfaces({"rode": [0, 1]}).bound(NAMES), r"surfaces\.height: got rode; expected names among"),
        (lambda: RandomSurfaces({}, {"rode": [1, 1]}).bound(NAMES), r"surfaces\.gain: got rode; expected names among"),
    ],
)
def test_a_wrong_setting_names_its_key(make: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()  # type: ignore[operator]
