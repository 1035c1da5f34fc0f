from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from made_scans import NAMES, OTHER, Pair, assert_same, rows_of, untouched
from slow_mixing import as_rows, slow_lasermix, slow_polarmix

from clusterseg.data.augment import LabelledScan, LaserMix, Mix, Mix3D, OneOf, PolarMix
from clusterseg.data.augment.turn import turned
from clusterseg.errors import UserError


def whirl(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return turned(points, rng.uniform(-math.pi, math.pi))


POLARMIX = PolarMix(swap=1.0).bound(NAMES)
MIXES = {
    "lasermix": LaserMix(),
    "polarmix": POLARMIX,
    "pasting": PolarMix(swap=0.0).bound(NAMES),
    "mix3d": Mix3D(transforms=[whirl]),
    "one_of": OneOf([LaserMix(), PolarMix()], [1, 3]).bound(NAMES),
}


@pytest.mark.parametrize("count", [2, 3, 4, 5, 6])
def test_lasermix_against_the_slow_reference(count: int, pair: Pair) -> None:
    mixed = LaserMix(num_areas=[count])(*pair, np.random.default_rng(0))
    np.testing.assert_array_equal(as_rows(mixed), slow_lasermix(*pair, count, -25.0, 3.0))


def test_lasermix_draws_every_number_of_strips(made_pair: Pair) -> None:
    def taken(mix: LaserMix, seed: int) -> tuple[int, ...]:
        return tuple(rows_of(mix(*made_pair, np.random.default_rng(seed))))

    counts = [taken(LaserMix([n]), 0) for n in (3, 4, 5, 6)]
    drawn = [counts.index(taken(LaserMix(), seed)) for seed in range(200)]
    assert np.bincount(drawn).min() > 30 and len(set(counts)) == 4


@pytest.mark.parametrize("swap, paste", [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
def test_polarmix_against_the_slow_reference(swap: float, paste: float, pair: Pair) -> None:
    classes = ["car", "person"]
    mix = PolarMix(classes, swap, paste).bound(NAMES)
    for seed in range(2):
        rng = np.random.default_rng(seed)
        rng.random(2)  # whether to swap and to paste
        start = rng.uniform(-math.pi, math.pi) if swap else None
        turns = [0, *rng.uniform((0, 2 * math.pi / 3), (2 * math.pi / 3, 4 * math.pi / 3))] if paste else None
        expected = slow_polarmix(*pair, start, turns, {NAMES.index(name) for name in classes})
        mixed = mix(*pair, np.random.default_rng(seed))
        np.testing.assert_allclose(as_rows(mixed), expected, atol=2e-5)
        assert not turns or 0 <= turns[1] < 2 * math.pi / 3 <= turns[2] < 4 * math.pi / 3


def test_swap_and_paste_have_their_own_probabilities(made_pair: Pair) -> None:
    scan, other = made_pair
    things = 3 * (np.isin(other.targets, range(8))).sum()
    swapped, pasted = [], []
    for seed in range(300):
        mixed = PolarMix(swap=0.3, paste=0.8).bound(NAMES)(scan, other, np.random.default_rng(seed))
        swapped.append((rows_of(mixed) < OTHER).sum() < len(scan))
        pasted.append((mixed.points[-things:, 4] >= OTHER).all() and len(mixed) > things)
    assert np.mean(swapped) == pytest.approx(0.3, abs=0.08)
    assert np.mean(pasted) >= 0.7


def test_mix3d_is_both_scans(pair: Pair) -> None:
    mixed = Mix3D()(*pair, np.random.default_rng(0))
    assert len(mixed) == len(pair[0]) + len(pair[1])
    np.testing.assert_array_equal(mixed.points, np.concatenate([s.points for s in pair]))
    np.testing.assert_array_equal(mixed.targets, np.concatenate([s.targets for s in pair]))


def test_mix3d_moves_the_second_scan_alone(made_pair: Pair) -> None:
    scan, other = made_pair
    mixed = Mix3D(transforms=[whirl])(scan, other, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed.points[: len(scan)], scan.points)
    turn = (mixed.points[len(scan) :, 0] + 1j * mixed.points[len(scan) :, 1]) / (
        other.points[:, 0] + 1j * other.points[:, 1]
    )
    np.testing.assert_allclose(turn, turn[0], atol=1e-4)
    assert abs(np.angle(turn[0])) > 0.1


def test_one_of_follows_the_weights(made_pair: Pair) -> None:
    mix = OneOf([Mix3D(), LaserMix(probability=0.0), LaserMix([2])], [1, 2, 0])
    sizes = [len(mix(*made_pair, np.random.default_rng(seed))) for seed in range(400)]
    both, scan = len(made_pair[0]) + len(made_pair[1]), len(made_pair[0])
    assert set(sizes) == {both, scan}
    assert np.mean(np.array(sizes) == both) == pytest.approx(1 / 3, abs=0.06)


@pytest.mark.parametrize("name", MIXES)
def test_is_a_pure_function(name: str, pair: Pair) -> None:
    mix, before = MIXES[name], [untouched(scan) for scan in pair]
    first, again = (mix(*pair, np.random.default_rng(3)) for _ in range(2))
    assert_same(first, again)
    draws = [mix(*pair, np.random.default_rng(seed)).points for seed in range(4, 9)]
    assert any(d.shape != first.points.shape or not np.array_equal(d, first.points) for d in draws)
    for scan, copy in zip(pair, before, strict=True):
        assert_same(scan, copy)


@pytest.mark.parametrize("name", MIXES)
def test_labels_follow_their_points_and_none_is_invented(name: str, pair: Pair) -> None:
    """Each point is one of the inputs', up to a turn about z, and the same points make up each instance."""
    for seed in range(3):
        mixed = MIXES[name](*pair, np.random.default_rng(seed))
        rows = rows_of(mixed)
        for source, mine in zip(pair, (rows < OTHER, rows >= OTHER), strict=True):
            origin = rows[mine] - (OTHER if source is pair[1] else 0)
            np.testing.assert_array_equal(mixed.targets[mine], source.targets[origin])
            np.testing.assert_array_equal(mixed.points[mine, 2:], source.points[origin, 2:])
            radii = [np.hypot(*points[:, :2].T) for points in (mixed.points[mine], source.points[origin])]
            np.testing.assert_allclose(*radii, atol=1e-4)
            old = source.instances[origin]
            np.testing.assert_array_equal(mixed.instances[mine] > 0, old > 0)
            named = np.unique(np.c_[mixed.instances[mine], old][old > 0], axis=0)
            assert len(named) == len(np.unique(named[:, 0]))  # no number for two instances
        assert not set(mixed.instances[rows < OTHER]) & set(mixed.instances[rows >= OTHER]) - {0}


@pytest.mark.parametrize("name", MIXES)
def test_a_worker_gets_the_same_mix(name: str, made_pair: Pair) -> None:
    sent = pickle.loads(pickle.dumps(MIXES[name]))
    assert_same(sent(*made_pair, np.random.default_rng(5)), MIXES[name](*made_pair, np.random.default_rng(5)))


@pytest.mark.parametrize("name", ["lasermix", "swap"])
def test_mixing_the_other_way_round_takes_the_rest(name: str, pair: Pair) -> None:
    """Counts add up: what one mix leaves, the other takes."""
    scan, other = pair
    swap = PolarMix(swap=1.0, paste=0.0).bound(NAMES)
    if name == "swap":
        mixed, rest = (swap(*scans, np.random.default_rng(1)) for scans in ((scan, other), (other, scan)))
        expected = len(scan) + len(other)
    else:
        mixed, rest = (LaserMix([4])(*scans, np.random.default_rng(1)) for scans in ((scan, other), (other, scan)))
        expected = len(scan) + len(other)
    rows = np.concatenate([rows_of(mixed), rows_of(rest)])
    assert len(rows) == expected == len(np.unique(rows))


@pytest.mark.parametrize(
    "mix", [LaserMix(probability=0.0), PolarMix(swap=0.0, paste=0.0), Mix3D(probability=0.0)], ids=lambda m: repr(m)[:8]
)
def test_probability_0_changes_nothing_and_needs_no_second_scan(mix: Mix, made_pair: Pair) -> None:
    assert not mix.needs_other and not OneOf([mix]).needs_other
    for seed in range(5):
        assert_same(mix(made_pair[0], None, np.random.default_rng(seed)), made_pair[0])


@pytest.mark.parametrize("name", MIXES)
def test_a_missing_second_scan(name: str, made_pair: Pair) -> None:
    assert MIXES[name].needs_other
    with pytest.raises(UserError, match=r"data\.augmentation\.\w+: got one scan, expected a second one"):
        MIXES[name](made_pair[0], None, np.random.default_rng(0))


def test_nan_points_of_the_scan_stay_without_a_warning(made_pair: Pair) -> None:
    scan, other = made_pair
    points = scan.points.copy()
    points[::50, :3] = np.nan
    scan = LabelledScan(points, scan.targets, scan.instances)
    for mix in MIXES.values():
        mixed = mix(scan, other, np.random.default_rng(0))
        assert np.isnan(mixed.points[:, 0]).sum() == len(points[::50])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LaserMix([]), r"lasermix\.num_areas: got \[\]"),
        (lambda: LaserMix([1, 3]), r"lasermix\.num_areas: got \[1, 3\]; expected numbers of 2 strips or more"),
        (lambda: LaserMix(inclinations=[3.0, -25.0]), r"lasermix\.inclinations: got \[3\.0, -25\.0\]"),
        (lambda: LaserMix(probability=-1.0), r"lasermix\.probability: got -1\.0"),
        (lambda: PolarMix(swap=1.5), r"polarmix\.swap: got 1\.5"),
        (lambda: PolarMix(["cat"]).bound(NAMES), r"polarmix\.classes: got cat; expected names among"),
        (lambda: Mix3D(probability=2.0), r"mix3d\.probability: got 2\.0"),
        (lambda: OneOf([]), r"one_of: got 0 mixes"),
        (lambda: OneOf([Mix3D()], [1, 2]), r"one_of: got 1 mixes and weights \[1, 2\]"),
        (lambda: OneOf([Mix3D(), Mix3D()], [0, 0]), r"one_of: .*not all 0"),
    ],
)
def test_impossible_settings(make: Callable[[], Mix], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
