from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from made_scans import NAMES, OTHER, assert_same, made_scan, real_scan, rows_of

from clusterseg.data.augment import InstanceBank, InstanceCutMix, LabelledScan
from clusterseg.data.augment.classes import THINGS
from clusterseg.data.augment.occlusion import hidden


def slow_hidden(points: np.ndarray, things: np.ndarray) -> list[bool]:
    nearest: dict[tuple[int, int], float] = {}
    for point in things[:, :3].tolist():
        cell = _cell(*point)
        nearest[cell] = min(nearest.get(cell, math.inf), math.dist(point, (0, 0, 0)))
    return [
        math.dist(point, (0, 0, 0)) > nearest.get(_cell(*point), math.inf) + 0.5 for point in points[:, :3].tolist()
    ]


def _cell(x: float, y: float, z: float) -> tuple[int, int]:
    azimuth, inclination = math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))
    return math.floor((azimuth + 180) / 0.4) % 900, math.floor((inclination + 90) / 0.8)


def test_against_the_slow_reference() -> None:
    scan, other = made_scan(1), made_scan(2)
    things = other.points[other.instances > 0]
    found = hidden(scan.points, things)
    assert found.tolist() == slow_hidden(scan.points, things)
    assert 10 < found.sum() < len(scan) / 2


def test_a_board_hides_what_is_behind_it_and_nothing_else() -> None:
    y, z = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, 100), np.linspace(-1, 1, 100)))
    board = np.c_[np.full(10_000, 5.0), y, z, np.zeros(10_000)].astype(np.float32)
    behind, before, beside, above = np.float32([[9, 0, 0, 0], [4, 0, 0, 0], [9, 3, 0, 0], [9, 0, 3, 0]])
    just_behind, opposite, nowhere = np.float32([[5.2, 0, 0, 0], [-9, 0, 0, 0], [np.nan, 0, 0, 0]])
    points = np.stack([behind, before, beside, above, just_behind, opposite, nowhere])
    assert hidden(points, board).tolist() == [True] + 6 * [False]
    assert not hidden(board, board).any()


def test_the_ray_at_half_a_turn() -> None:
    """Its azimuth is 180 degrees, or -180 where y is -0."""
    points = np.float32([[-9, 0, 0, 0], [-9, -0.0, 0, 0]])
    assert hidden(points, points[:1] / 2).tolist() == hidden(points, points[1:] / 2).tolist() == [True, True]


def check_cutmix(scan: LabelledScan, bank: InstanceBank) -> None:
    plain = InstanceCutMix(bank, classes=THINGS, fewest=20).bound(NAMES)
    hiding = InstanceCutMix(bank, classes=THINGS, fewest=20, occlude=True).bound(NAMES)
    mixed, thinned = (mix(scan, None, np.random.default_rng(0)) for mix in (plain, hiding))
    behind = mixed.where(np.arange(len(mixed)) >= len(scan))
    kept = thinned.where(rows_of(thinned) < OTHER)
    assert_same(kept, scan.where(~hidden(scan.points, behind.points)))
    np.testing.assert_array_equal(thinned.points[len(kept) :], behind.points)
    np.testing.assert_array_equal(thinned.targets[len(kept) :], behind.targets)
    assert 0.5 * len(scan) < len(kept) < len(scan)


def test_cutmix_drops_what_its_things_hide() -> None:
    check_cutmix(made_scan(1), InstanceBank.build([made_scan(2, OTHER)], NAMES))


def test_cutmix_on_a_real_scan(shared: Path) -> None:
    check_cutmix(real_scan(shared, "08", 4), InstanceBank.build([real_scan(shared, "06", 4, OTHER)], NAMES))
