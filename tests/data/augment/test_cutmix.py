from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_scans import NAMES, OTHER, assert_same, made_scan, real_scan, rows_of, untouched
from slow_cutmix import SlowSurroundings, slow_cutmix

from clusterseg.data.augment import InstanceBank, InstanceCutMix, LabelledScan
from clusterseg.data.augment.classes import GROUND, THINGS
from clusterseg.data.augment.surroundings import Surroundings
from clusterseg.errors import UserError

GROUND_IDS = {NAMES.index(name) for name in GROUND}
Case = tuple[LabelledScan, InstanceBank]


@pytest.fixture(params=["made", "real"])
def case(request: pytest.FixtureRequest) -> Case:
    """A scan, and a bank from another of which the fifth channel holds rows from OTHER on."""
    if request.param == "real":
        shared: Path = request.getfixturevalue("shared")
        return real_scan(shared, "08", 4), InstanceBank.build([real_scan(shared, "06", 4, OTHER)], NAMES)
    return made_scan(1), InstanceBank.build([made_scan(2, OTHER)], NAMES)


def cutmix(bank: InstanceBank, **settings: object) -> InstanceCutMix:
    return InstanceCutMix(bank, **{"classes": THINGS, "fewest": 10, "most": 20, **settings}).bound(NAMES)  # type: ignore[arg-type]


def pasted_of(mixed: LabelledScan, scan: LabelledScan) -> list[LabelledScan]:
    """The instances behind the points of the scan, in their order."""
    behind = mixed.where(np.arange(len(mixed)) >= len(scan))
    return [behind.where(behind.instances == number) for number in np.unique(behind.instances)]


def test_against_the_slow_reference(case: Case) -> None:
    scan, bank = case
    for seed in range(3):
        mixed = cutmix(bank)(scan, None, np.random.default_rng(seed))
        expected = slow_cutmix(scan, bank, list(THINGS), GROUND_IDS, (10, 20, 10), 0.5, np.random.default_rng(seed))
        pasted = pasted_of(mixed, scan)
        assert len(pasted) == len(expected) > 0
        for got, (name, points) in zip(pasted, expected, strict=True):
            assert set(got.targets) == {NAMES.index(name)}
            np.testing.assert_allclose(got.points, points, atol=2e-6)


def test_is_a_pure_function_and_the_scan_comes_first(case: Case) -> None:
    scan, bank = case
    before, bank_before = untouched(scan), bank.points.copy()
    first, again = (cutmix(bank)(scan, other, np.random.default_rng(3)) for other in (None, made_scan()))
    assert_same(first, again)
    assert_same(first.where(np.arange(len(first)) < len(scan)), scan)
    assert_same(scan, before)
    np.testing.assert_array_equal(bank.points, bank_before)
    assert not np.array_equal(first.points, cutmix(bank)(scan, None, np.random.default_rng(4)).points)


def test_pastes_whole_instances_turned_and_lifted(case: Case) -> None:
    scan, bank = case
    whole = {tuple(bank[i][:, 4].astype(int)): i for i in range(len(bank))}
    for seed in range(3):
        for thing in pasted_of(cutmix(bank)(scan, None, np.random.default_rng(seed)), scan):
            index = whole[tuple(rows_of(thing))]
            source = bank[index]
            assert set(thing.targets) == {NAMES.index(bank.class_names[bank.classes[index]])}
            np.testing.assert_array_equal(thing.points[:, 3:], source[:, 3:])
            turn = (thing.points[:, 0] + 1j * thing.points[:, 1]) / (source[:, 0] + 1j * source[:, 1])
            np.testing.assert_allclose(turn, turn[0], atol=1e-5)
            np.testing.assert_allclose(abs(turn), 1, atol=1e-5)
            lift = thing.points[:, 2] - source[:, 2]
            np.testing.assert_allclose(lift, lift[0], atol=1e-5)
            assert abs(lift[0]) <= 0.5 + 1e-5


def test_things_stand_on_the_ground_and_in_nothing(case: Case) -> None:
    """Of all points within 0.4 m of one of the thing's, seen from above, none but ground is lower than its top."""
    scan, bank = case
    is_ground = np.isin(scan.targets, list(GROUND_IDS))
    others = scan.points[~is_ground]
    for thing in pasted_of(cutmix(bank)(scan, None, np.random.default_rng(0)), scan):
        heights = within(scan.points[is_ground], thing.points, 0.8)[:, 2]
        assert heights.min() - 0.01 <= thing.points[:, 2].min() <= heights.max() + 0.01
        assert (within(others, thing.points, 0.4)[:, 2] > thing.points[:, 2].max() - 1e-4).all()
        others = np.concatenate([others, thing.points])


def within(points: np.ndarray, thing: np.ndarray, margin: float) -> np.ndarray:
    """The points nearer than the margin to one of the thing's along x and along y."""
    low, high = thing[:, :2].min(0) - margin, thing[:, :2].max(0) + margin
    around = points[((points[:, :2] > low) & (points[:, :2] < high)).all(1)]
    return around[(np.abs(around[:, None, :2] - thing[None, :, :2]).max(-1) < margin).any(1)]


def test_the_crown_of_a_tree_is_no_obstacle_but_a_wall_is() -> None:
    scan = made_scan(1)
    around = Surroundings.of(scan.points, np.isin(scan.targets, list(GROUND_IDS)))
    person = np.zeros((60, 5), np.float32)
    person[:, 2] = np.linspace(0, 1.7, 60)
    under_the_tree, in_the_wall, nowhere = (person + np.float32((*xy, 0, 0, 0)) for xy in ((7, -8), (3, 12), (60, 0)))
    assert around.ground_under(under_the_tree) == pytest.approx(0.02 * 7 - 1.7, abs=0.05)
    assert around.ground_under(in_the_wall) is None
    assert around.ground_under(nowhere) is None
    assert around.with_things(under_the_tree - np.float32((0, 0, 1.7, 0, 0))).ground_under(under_the_tree) is None
    tall = under_the_tree * np.float32((1, 1, 3, 1, 1))
    assert around.ground_under(tall) is None


def test_surroundings_against_the_slow_reference(case: Case) -> None:
    scan, bank = case
    is_ground = np.isin(scan.targets, list(GROUND_IDS))
    around, slow = Surroundings.of(scan.points, is_ground), SlowSurroundings(scan.points, is_ground.tolist())
    rng, answers = np.random.default_rng(0), []
    for _ in range(300):
        thing = bank[int(rng.integers(len(bank)))].copy()
        thing[:, :2] += rng.uniform(-60, 60, 2).astype(np.float32)
        height, expected = around.ground_under(thing), slow.ground_under(thing)
        assert (height is None) == (expected is None)
        answers.append(height is not None)
        assert height is None or height == pytest.approx(expected, abs=1e-6)
    assert 0.02 < np.mean(answers) < 0.9


def test_several_places_at_once_are_each_place_alone(case: Case) -> None:
    scan, bank = case
    around = Surroundings.of(scan.points, np.isin(scan.targets, list(GROUND_IDS)))
    rng, answers = np.random.default_rng(1), []
    for _ in range(40):
        thing = bank[int(rng.integers(len(bank)))]
        places = [thing + np.float32([*rng.uniform(-60, 60, 2), 0, 0, 0]) for _ in range(8)]
        x, y = (np.stack([place[:, axis] for place in places]) for axis in (0, 1))
        found = list(around.ground_at(x, y, thing[:, 2]))
        assert found == [around.ground_under(place) for place in places]
        answers += [height is not None for height in found]
    assert 0.02 < np.mean(answers) < 0.9
    nothing = np.zeros((2, 0), np.float32)
    assert list(around.ground_at(nothing, nothing, nothing[0])) == [None, None]


def test_max_shift_refuses_what_would_be_buried(case: Case) -> None:
    scan, bank = case
    lifted = InstanceBank(bank.points + np.float32((0, 0, 2, 0, 0)), bank.starts, bank.classes, bank.class_names)
    assert_same(cutmix(lifted)(scan, None, np.random.default_rng(0)), scan)
    assert len(cutmix(lifted, max_shift=3.0)(scan, None, np.random.default_rng(0))) > len(scan)


def test_probability_0_changes_nothing(case: Case) -> None:
    scan, bank = case
    mix = cutmix(bank, probability=0.0)
    assert not mix.needs_other
    assert_same(mix(scan, None, np.random.default_rng(0)), scan)


def test_nothing_to_paste_or_nowhere_to() -> None:
    scan, empty = made_scan(), InstanceBank.build([], NAMES)
    bank = InstanceBank.build([made_scan(2, OTHER)], NAMES)
    five_channels = InstanceBank(np.empty((0, 5), np.float32), empty.starts, empty.classes, empty.class_names)
    assert_same(cutmix(five_channels)(scan, None, np.random.default_rng(0)), scan)
    assert_same(cutmix(bank, ground=["other-ground"])(scan, None, np.random.default_rng(0)), scan)
    assert_same(cutmix(bank, fewest=0, most=0)(scan, None, np.random.default_rng(0)), scan)


def test_draws_each_class_as_often_whatever_the_bank_holds() -> None:
    scans = [made_scan(seed, OTHER) for seed in range(2, 5)]
    bank = InstanceBank.build(scans, NAMES, classes=["person"], min_points=10)
    cars = InstanceBank.build(scans[:1], NAMES, classes=["car"], max_per_class=1, min_points=10)
    both = InstanceBank(
        np.concatenate([bank.points, cars.points]),
        np.r_[bank.starts, bank.starts[-1] + cars.starts[1:]],
        np.r_[bank.classes, cars.classes + 1],
        ("person", "car"),
    )
    drawn = cutmix(both, classes=["person", "car"], fewest=600, most=600)._draw(np.random.default_rng(0))
    assert np.mean([name == "car" for name, _ in drawn]) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"fewest": 5, "most": 4}, r"cutmix: got fewest=5, most=4; expected 0 <= fewest <= most"),
        ({"attempts": 0}, r"cutmix\.attempts: got 0"),
        ({"max_shift": -1.0}, r"cutmix\.max_shift: got -1\.0"),
        ({"probability": 1.1}, r"cutmix\.probability: got 1\.1"),
        ({"classes": ["cat"]}, r"cutmix\.classes \(in the bank\): got cat"),
        ({"ground": ["lawn"]}, r"cutmix\.ground: got lawn"),
    ],
)
def test_impossible_settings(settings: dict[str, object], message: str) -> None:
    bank = InstanceBank.build([], NAMES)
    with pytest.raises(UserError, match=message):
        cutmix(bank, **settings)


def test_not_bound() -> None:
    mix: Callable[..., LabelledScan] = InstanceCutMix(InstanceBank.build([], NAMES))
    with pytest.raises(UserError, match="not bound to a label map"):
        mix(made_scan(), None, np.random.default_rng(0))
