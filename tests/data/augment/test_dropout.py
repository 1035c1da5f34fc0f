from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from made_scans import Pair, assert_same, made_scan, rows_of, untouched
from slow_dropout import slow_beam_dropout, slow_beams, slow_point_dropout, slow_range_dropout

from clusterseg.data.augment import BeamDropout, LabelledScan, Mix, PointDropout, RangeDropout
from clusterseg.data.augment.beams import beams_of
from clusterseg.errors import UserError

Slow = Callable[[np.ndarray, np.random.Generator], list[int]]
CASES: list[tuple[Mix, Slow]] = [
    (PointDropout(0.6), lambda points, rng: slow_point_dropout(points, 0.6, rng)),
    (BeamDropout(0.8), lambda points, rng: slow_beam_dropout(points, 0.8, 0.4, rng)),
    (BeamDropout(0.5, spacing=1.3), lambda points, rng: slow_beam_dropout(points, 0.5, 1.3, rng)),
    (RangeDropout(5.0, 20.0), lambda points, rng: slow_range_dropout(points, 5.0, 20.0, rng)),
]


@pytest.mark.parametrize("dropout, slow", CASES, ids=lambda case: type(case).__name__)
def test_against_the_slow_reference(dropout: Mix, slow: Slow, pair: Pair) -> None:
    scan, before = pair[0], untouched(pair[0])
    for seed in range(3):
        kept = dropout(scan, None, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        rng.random()  # whether to drop at all
        rows = slow(scan.points, rng)
        assert 0 < len(rows) < len(scan)
        np.testing.assert_array_equal(rows_of(kept), rows)
        assert_same(kept, type(scan)(scan.points[rows], scan.targets[rows], scan.instances[rows]))
        assert_same(kept, dropout(scan, pair[1], np.random.default_rng(seed)))
        assert_same(scan, before)


def test_beams_by_inclination_against_the_slow_reference(pair: Pair) -> None:
    scan = pair[0]
    order = np.random.default_rng(0).permutation(len(scan))
    shuffled = LabelledScan(scan.points[order], scan.targets[order], scan.instances[order])
    for seed in range(3):
        kept = BeamDropout(0.8)(shuffled, None, np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        rng.random()  # whether to drop at all
        rows = slow_beam_dropout(shuffled.points, 0.8, 0.4, rng)
        np.testing.assert_array_equal(rows_of(kept), order[rows])


@pytest.mark.parametrize("kind", [PointDropout, BeamDropout, RangeDropout])
def test_probability(kind: type[Mix]) -> None:
    scan = made_scan()
    never, sometimes = kind(probability=0.0), kind(probability=0.3)  # type: ignore[call-arg]
    assert_same(never(scan, None, np.random.default_rng(0)), scan)
    changed = [sometimes(scan, None, np.random.default_rng(seed)) is not scan for seed in range(300)]
    assert 0.22 < np.mean(changed) < 0.38
    assert not sometimes.needs_other


def test_share_of_points_is_uniform_up_to_its_largest() -> None:
    scan = made_scan()
    shares = [1 - len(PointDropout(0.4)(scan, None, np.random.default_rng(s))) / len(scan) for s in range(400)]
    assert 0 <= min(shares) < 0.02 and 0.38 < max(shares) <= 0.4
    assert np.mean(shares) == pytest.approx(0.2, abs=0.02)


def test_beams_go_as_a_whole() -> None:
    """The plain comes beam by beam, 150 points each."""
    plain = made_scan().where(np.arange(len(made_scan())) < 24 * 150)
    sizes = set()
    for seed in range(20):
        kept = BeamDropout(0.9)(plain, None, np.random.default_rng(seed))
        of_beam = np.bincount(rows_of(kept) // 150, minlength=24)
        assert set(of_beam) <= {0, 150}
        sizes.add(len(kept) // 150)
    assert min(sizes) >= 3 and len(sizes) > 8


def test_beams_by_inclination_where_the_order_does_not_tell(pair: Pair) -> None:
    shuffled = pair[0].points[np.random.default_rng(0).permutation(len(pair[0]))]
    beams = beams_of(shuffled, 0.7)
    steps = dict(zip(slow_beams(shuffled, 0.7), beams.tolist(), strict=True))
    assert [steps[step] for step in slow_beams(shuffled, 0.7)] == beams.tolist()
    assert len(set(steps.values())) == len(steps) > 20 and beams.min() == 0
    middle = shuffled[np.argsort(np.arctan2(shuffled[:, 1], shuffled[:, 0]))]  # column by column: one turn
    assert len(np.unique(beams_of(middle, 0.7))) == len(steps)


def test_the_64_beams_of_a_real_scan(real_pair: Pair) -> None:
    for scan in real_pair:
        beam = beams_of(scan.points, 0.4)
        assert beam.max() + 1 == 64
        inclination = np.arctan2(scan.points[:, 2], np.hypot(scan.points[:, 0], scan.points[:, 1]))
        middles = [np.median(inclination[beam == number]) for number in range(64)]
        assert (np.diff(middles) < 0).all()


def test_something_always_stays() -> None:
    one = made_scan().where(np.arange(len(made_scan())) == 5)
    for dropout in (PointDropout(0.999), BeamDropout(0.999), RangeDropout(0.001, 0.001)):
        assert len(dropout(one, None, np.random.default_rng(0))) == 1


def test_values_that_are_not_finite_raise_no_warning() -> None:
    scan = made_scan()
    points = scan.points.copy()
    points[::10, :3] = np.nan
    for dropout in (PointDropout(), BeamDropout(), RangeDropout()):
        assert len(dropout(scan.with_points(points), None, np.random.default_rng(0))) > 0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: PointDropout(max_share=1.0), r"point_dropout\.max_share: got 1\.0; expected a share in \[0, 1\)"),
        (lambda: PointDropout(probability=2.0), r"point_dropout\.probability: got 2\.0; expected a probability"),
        (lambda: BeamDropout(max_share=-0.1), r"beam_dropout\.max_share: got -0\.1"),
        (lambda: BeamDropout(spacing=0.0), r"beam_dropout\.spacing: got 0\.0; expected more than 0"),
        (lambda: RangeDropout(50.0, 20.0), r"range_dropout: got nearest=50\.0, farthest=20\.0"),
    ],
)
def test_impossible_settings(make: Callable[[], Mix], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
