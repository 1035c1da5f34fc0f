"""Each corruption against its description: point count, ranges, labels, severity, seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.corrupt import CORRUPTIONS, SEVERITIES, About, Corrupt, check_corruptions, choose_corruptions
from clusterseg.data.corrupt.fog import fog_return
from clusterseg.data.corrupt.kind import ranges
from clusterseg.data.corrupt.snow import snowfall
from clusterseg.data.corrupt.wet_ground import transmitted
from clusterseg.data.label_map import IGNORE_INDEX, load_label_map
from clusterseg.errors import UserError

NAMES = load_label_map("semantickitti").class_names
ABOUT = About(NAMES)
CAR, TRUCK, ROAD, BUILDING = (NAMES.index(name) for name in ("car", "truck", "road", "building"))
BEAMS, AZIMUTHS = 64, 400


def turning_scan(seed: int = 0) -> LabelledScan:
    """A scan of 64 beams in the order of a file: road below, a wall around, cars and a truck in parts of the turn."""
    rng = np.random.default_rng(seed)
    down = np.radians(np.linspace(-2, 24.8, BEAMS))[:, None] + np.zeros(AZIMUTHS)
    turn = np.zeros((BEAMS, 1)) + np.linspace(0.02, 2 * math.pi - 0.02, AZIMUTHS)
    wall = rng.uniform(25, 60, AZIMUTHS) / np.cos(down)
    road = np.where(down > 0.03, 1.73 / np.sin(np.maximum(down, 0.03)), np.inf)
    distance = np.minimum(wall, road)
    targets = np.where(road < wall, ROAD, BUILDING)
    for train_id, first, last in ((CAR, 40, 80), (CAR, 200, 230), (TRUCK, 300, 340)):
        body = (down > -0.01) & (down < 0.12) & (turn > turn[0, first]) & (turn < turn[0, last])
        distance, targets = np.where(body, 12.0, distance), np.where(body, train_id, targets)
    xyz = np.stack([np.cos(down) * np.cos(turn), np.cos(down) * np.sin(turn), -np.sin(down)], -1) * distance[..., None]
    remission = np.where(targets == ROAD, 0.3, 0.5) * rng.uniform(0.1, 1.6, targets.shape)
    points = np.concatenate([xyz, remission[..., None]], -1).reshape(-1, 4).astype(np.float32)
    return LabelledScan(points, targets.reshape(-1).astype(np.int64), (targets.reshape(-1) == CAR).astype(np.int64))


SCAN = turning_scan()


def corrupted(name: str, severity: int, seed: int = 1, scan: LabelledScan = SCAN) -> LabelledScan:
    return CORRUPTIONS[name](scan, np.random.default_rng(seed), severity, ABOUT)


def mean_of(name: str, severity: int, value: str) -> float:
    """Mean over some seeds of the count, of the ignored points, of the range or of the moved distance."""
    total = []
    for seed in range(6):
        result = corrupted(name, severity, seed)
        found = {
            "points": len(result),
            "ignored": (result.targets == IGNORE_INDEX).sum(),
            "range": ranges(result).mean(),
        }
        total.append(float(found[value]))
    return float(np.mean(total))


@pytest.mark.parametrize("severity", range(3))
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_pure_function_of_its_seed(name: str, severity: int) -> None:
    before = SCAN.points.copy(), SCAN.targets.copy()
    one, again, other = (corrupted(name, severity, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.points, again.points)
    np.testing.assert_array_equal(one.targets, again.targets)
    if name not in ("wet_ground", "cross_sensor"):  # which draw nothing
        assert one.points.shape != other.points.shape or not np.array_equal(one.points, other.points)
    np.testing.assert_array_equal(SCAN.points, before[0])
    np.testing.assert_array_equal(SCAN.targets, before[1])
    assert len(one.points) == len(one.targets) == len(one.instances)
    assert one.points.dtype == np.float32 and np.isfinite(one.points).all()
    assert ((one.points[:, 3] >= 0) & (one.points[:, 3] <= 1)).all()
    assert set(np.unique(one.targets).tolist()) <= {*np.unique(SCAN.targets).tolist(), IGNORE_INDEX}


LOSES = ("wet_ground", "snow", "beam_missing", "incomplete_echo", "cross_sensor")
IGNORES = ("fog", "snow", "crosstalk")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_heavier_the_fewer_points_are_left_or_the_more_are_ignored(name: str) -> None:
    left = [mean_of(name, severity, "points") for severity in range(3)]
    ignored = [mean_of(name, severity, "ignored") for severity in range(3)]
    print(f"{name}: points {left} of {len(SCAN)}, ignored {ignored}")
    if name in LOSES:
        assert len(SCAN) > left[0] > left[1] > left[2] > 0
    else:
        assert left == [len(SCAN)] * 3
    if name in IGNORES:
        assert 0 < ignored[0] < ignored[1] < ignored[2] < 0.6 * len(SCAN)
    else:
        assert ignored == [0] * 3


def test_ranges() -> None:
    """Fog and snow bring points near; ground that is lost lies far off; beams and echoes do not change a range."""
    clean = float(ranges(SCAN).mean())
    fog = [mean_of("fog", severity, "range") for severity in range(3)]
    assert clean > fog[0] > fog[1] > fog[2]
    flakes = corrupted("snow", 2)
    assert ranges(flakes)[flakes.targets == IGNORE_INDEX].max() < 6 < clean
    wet, road = corrupted("wet_ground", 1), ranges(SCAN)[SCAN.targets == ROAD]
    lost = len(road) - (wet.targets == ROAD).sum()
    assert lost > 0 and ranges(wet)[wet.targets == ROAD].mean() < road.mean()
    rows = {tuple(row) for row in SCAN.points.tolist()}
    for name in ("beam_missing", "incomplete_echo", "cross_sensor"):
        assert {tuple(row) for row in corrupted(name, 1).points.tolist()} <= rows, name


def test_beams_go_as_a_whole_and_the_outermost_stay() -> None:
    beam = np.repeat(np.arange(BEAMS), AZIMUTHS)
    for severity, most in enumerate((16, 32, 48)):
        left = corrupted("beam_missing", severity)
        kept = {tuple(row) for row in left.points.tolist()}
        counts = np.array([sum(tuple(row) in kept for row in SCAN.points[beam == b].tolist()) for b in range(BEAMS)])
        assert set(counts.tolist()) == {0, AZIMUTHS}
        gone = np.flatnonzero(counts == 0)
        assert most / 2 < len(gone) <= most and gone.min() >= 4 and gone.max() < 59


def test_another_sensor_has_every_fourth_beam_and_every_second_point() -> None:
    beam = np.repeat(np.arange(BEAMS), AZIMUTHS)
    for severity, dropped in enumerate(([1], [1, 3], [1, 2, 3])):
        expected = SCAN.points[~np.isin(beam % 4, dropped)][::2]
        np.testing.assert_array_equal(corrupted("cross_sensor", severity).points, expected)


def test_echoes_are_lost_of_each_class_of_vehicles() -> None:
    for severity, share in enumerate((0.75, 0.85, 0.95)):
        left = corrupted("incomplete_echo", severity)
        for train_id in np.unique(SCAN.targets):
            before, after = (SCAN.targets == train_id).sum(), (left.targets == train_id).sum()
            expected = before - int(share * before) if train_id in (CAR, TRUCK) else before
            assert after == expected, NAMES[train_id]
    few = SCAN.where((SCAN.targets != TRUCK) | (np.cumsum(SCAN.targets == TRUCK) <= 10))
    assert (corrupted("incomplete_echo", 2, scan=few).targets == TRUCK).sum() == 10, "ten points are left alone"


def test_crosstalk_displaces_a_few_points_by_metres() -> None:
    for severity, share in enumerate((0.006, 0.008, 0.01)):
        struck = corrupted("crosstalk", severity)
        moved = (struck.points != SCAN.points).any(1)
        assert moved.sum() == int(share * len(SCAN)) and (struck.targets[moved] == IGNORE_INDEX).all()
        noise = struck.points[moved, :3] - SCAN.points[moved, :3]
        assert np.std(noise) == pytest.approx(3.0, rel=0.2)


def test_blur_shifts_the_scan_and_shakes_each_point() -> None:
    shifts = []
    for severity, shake in enumerate((0.2, 0.25, 0.3)):
        moves = corrupted("motion_blur", severity).points[:, :3].astype(float) - SCAN.points[:, :3]
        shifts.append(np.linalg.norm(moves.mean(0)))
        np.testing.assert_allclose(moves.std(0), shake * np.array([0.1, 0.1, 0.05]), rtol=0.05)
    assert shifts[0] < shifts[1] < shifts[2], "the same draw at each severity"
    means = [
        corrupted("motion_blur", 2, seed).points[:, :3].mean(0) - SCAN.points[:, :3].mean(0) for seed in range(300)
    ]
    np.testing.assert_allclose(np.std(means, axis=0), 0.3, rtol=0.15)


@pytest.mark.parametrize("alpha", [0.0, 0.06])
def test_the_return_of_fog_by_a_plain_sum(alpha: float) -> None:
    """Equation 9 of the source, one range at a time, by a Riemann sum."""
    pulse, light = 20e-9, 299_792_458.0

    def received(at: float) -> float:
        total, steps = 0.0, 2000
        for step in range(steps):
            time = (step + 0.5) * 2 * pulse / steps
            r = at - light * time / 2
            overlap = min(max((r - 0.9) / 0.1, 0.0), 1.0)
            if overlap > 0:
                total += math.sin(math.pi * time / (2 * pulse)) ** 2 * math.exp(-2 * alpha * r) / r**2 * overlap
        return total * 2 * pulse / steps

    grid = [0.1 * i for i in range(120)]
    values = [received(at) for at in grid]
    for target in (1.5, 3.0, 4.0, 8.0, 11.5):
        reach = [v for at, v in zip(grid, values, strict=True) if at <= target + 1e-9]
        place, power = fog_return(np.array([target]), alpha)
        assert power[0] == pytest.approx(max(reach), rel=2e-3)
        assert place[0] == pytest.approx(grid[int(np.argmax(reach))], abs=0.11)


def test_fog_dims_by_the_law_of_beer_and_lambert() -> None:
    for seed in range(8):
        foggy = corrupted("fog", 0, seed)
        alpha = float(np.random.default_rng(seed).choice((0.0, 0.005, 0.01, 0.02, 0.03, 0.06)))
        clear = foggy.targets != IGNORE_INDEX
        expected = SCAN.points[:, 3] * np.exp(-2 * alpha * np.linalg.norm(SCAN.points[:, :3], axis=1))
        np.testing.assert_allclose(foggy.points[clear, 3], expected[clear], rtol=1e-4)
        np.testing.assert_array_equal(foggy.points[clear, :3], SCAN.points[clear, :3])


def test_fog_points_lie_on_their_beams() -> None:
    foggy = corrupted("fog", 2)
    rows = foggy.targets == IGNORE_INDEX
    assert rows.any()
    there, here = SCAN.points[rows, :3], foggy.points[rows, :3]
    cosine = (there * here).sum(1) / np.linalg.norm(there, axis=1) / np.linalg.norm(here, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-5)


def test_snowfall_is_that_of_the_source() -> None:
    """The share of the plane that flakes cover, and the rain rate in the names of the source's files."""
    for severity, (rate, speed, rain) in enumerate([(0.5, 2.0, 2.2384), (1.0, 1.6, 8.8481), (2.5, 1.6, 34.9748)]):
        fall = snowfall(severity)
        slope = 25.5 * rain**-0.48  # per centimetre
        assert fall.diameter == pytest.approx(0.01 / slope, rel=1e-3)
        mean_area = math.pi / 4 * 2 * fall.diameter**2  # of exponentially distributed diameters
        assert fall.number * mean_area == pytest.approx(rate / (3.6e6 * 0.1 * speed), rel=1e-6)


def test_flakes_hide_as_much_as_their_number_and_size_say() -> None:
    """A dark-free scan at 50 m: the mean share that is left, against the expectation of a Poisson process."""
    points = np.zeros((40_000, 4), np.float32)
    points[:, 0], points[:, 3] = 50, 1
    scan = LabelledScan(points, np.full(40_000, BUILDING), np.zeros(40_000, np.int64))
    fall = snowfall(2)
    left = corrupted("snow", 2, scan=scan).points
    far = left[:, 0] == 50
    # E[1 - share] of one flake, by a sum over distances (evenly over the wedge) and exponential sizes
    place = 50 * np.sqrt((np.arange(400) + 0.5) / 400)
    size = -fall.diameter * np.log((np.arange(400) + 0.5) / 400)
    share = np.minimum(size[None] / (3e-3 * place[:, None]), 1).mean()
    expected = math.exp(-fall.number * 1.5e-3 * 50**2 * share)
    assert left[far, 3].mean() == pytest.approx(expected, rel=0.01)


def test_the_film_of_water_by_a_sum_over_reflections() -> None:
    for degrees in (0.0, 30.0, 60.0, 85.0):
        angle, ground = math.radians(degrees), 0.3
        inside = math.asin(math.sin(angle) * 1.0003 / 1.33)
        s = (1.0003 * math.cos(angle) - 1.33 * math.cos(inside)) / (1.0003 * math.cos(angle) + 1.33 * math.cos(inside))
        p = (1.33 * math.cos(angle) - 1.0003 * math.cos(inside)) / (1.33 * math.cos(angle) + 1.0003 * math.cos(inside))
        ways = []
        for r in (s**2, p**2):
            power, out = 1 - r, 0.0
            for _ in range(200):  # off the ground, part leaves, the rest comes back to the ground
                power *= ground
                out += power * (1 - r)
                power *= r
            ways.append(out)
        found = transmitted(np.array([angle]), np.array([ground]))[0]
        assert found == pytest.approx(max(ways), rel=1e-9)


def test_wet_ground_dims_ground_only_and_more_with_more_water() -> None:
    clean = {tuple(row[:3]): row[3] for row in SCAN.points.tolist()}
    kept: list[set] = []
    for severity in range(3):
        wet = corrupted("wet_ground", severity)
        for row, target in zip(wet.points.tolist(), wet.targets.tolist(), strict=True):
            before = clean[tuple(row[:3])]
            assert row[3] <= before + 1e-6 if target == ROAD else row[3] == before
        kept.append({tuple(row[:3]) for row in wet.points.tolist()})
    assert kept[0] > kept[1] > kept[2]
    few = SCAN.where((SCAN.targets != ROAD) | (np.cumsum(SCAN.targets == ROAD) < 50))
    assert corrupted("wet_ground", 2, scan=few) is few, "too little ground to estimate from"


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_points_without_a_place_do_no_harm(name: str) -> None:
    points = SCAN.points.copy()
    points[::50, 1] = np.nan
    scan = LabelledScan(points, SCAN.targets, SCAN.instances)
    with np.errstate(all="raise", under="ignore"):
        result = Corrupt(name, 2, ABOUT)(scan, None, np.random.default_rng(0))
    assert len(result) > 0.05 * len(scan)


def test_one_point_at_least_stays() -> None:
    beam = SCAN.where(np.arange(len(SCAN)) // AZIMUTHS == 1)
    assert len(Corrupt("cross_sensor", 2, ABOUT)(beam, None, np.random.default_rng(0))) >= 1


def test_choosing() -> None:
    assert choose_corruptions(None) == () and choose_corruptions("all") == choose_corruptions(["all"])
    assert len(choose_corruptions("all")) == 8 and len(SEVERITIES) == 3
    assert choose_corruptions("fog") == ("fog",) and choose_corruptions(["snow", "fog"]) == ("snow", "fog")
    for wrong in ("rain", ["fog", "fog"], [], 3, ["all", "fog"]):
        with pytest.raises(UserError, match=r"corrupt: .*expected all, null, or names"):
            choose_corruptions(wrong)


def test_what_the_data_lacks() -> None:
    with pytest.raises(UserError, match=r"corrupt=fog: needs the remission"):
        check_corruptions(["fog"], About(NAMES, ("x", "y", "z")))
    with pytest.raises(UserError, match=r"corrupt=wet_ground: acts on the classes road, .*has none of them"):
        check_corruptions(["wet_ground"], About(["tree", "water"]))
    with pytest.raises(UserError, match=r"corrupt=incomplete_echo: acts on the classes car"):
        check_corruptions(["incomplete_echo"], About(["tree", "water"]))
    with pytest.raises(UserError, match=r"corrupt: .*single scans.*data\.window"):
        check_corruptions(["fog"], About(NAMES, ("x", "y", "z", "remission", "age")))
    check_corruptions(["motion_blur", "beam_missing", "crosstalk", "cross_sensor"], About(["tree"], ("x", "y", "z")))
    check_corruptions(list(CORRUPTIONS), ABOUT)
