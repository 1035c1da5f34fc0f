"""Random remission: one curve for a scan, noise for a point, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from fake_scans import random_points

from clusterseg.data.augment import RandomRemission
from clusterseg.errors import UserError

POINTS = np.c_[random_points(2000), np.arange(2000)].astype(np.float32)  # a fifth channel


def test_is_a_pure_function_of_remission_alone() -> None:
    before = POINTS.copy()
    transform = RandomRemission(absent=0.0)
    first, again = (transform(POINTS, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(POINTS, before)
    np.testing.assert_array_equal(first[:, [0, 1, 2, 4]], POINTS[:, [0, 1, 2, 4]])
    assert first.dtype == np.float32 and not np.array_equal(first, POINTS)
    assert first[:, 3].min() >= 0 and first[:, 3].max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop_over_points_with_the_drawn_curve(seed: int) -> None:
    transform = RandomRemission(gamma=3.0, gain=2.0, noise=0.1, absent=0.0)
    rng = np.random.default_rng(seed)
    rng.random()
    gamma, gain = 3.0 ** rng.uniform(-1, 1), 2.0 ** rng.uniform(-1, 1)
    rng.random()
    noise = 0.1 * rng.standard_normal(len(POINTS), dtype=np.float32)
    expected = [min(1.0, max(0.0, gain * r**gamma + n)) for r, n in zip(POINTS[:, 3].tolist(), noise, strict=True)]
    np.testing.assert_allclose(transform(POINTS, np.random.default_rng(seed))[:, 3], expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_fades_with_the_distance_beyond_where_it_starts(seed: int) -> None:
    plain, fading = (RandomRemission(noise=0.0, absent=0.0, fade=fade, fade_from=5.0) for fade in (0.0, 0.02))
    before, after = (t(POINTS, np.random.default_rng(seed))[:, 3] for t in (plain, fading))
    rng = np.random.default_rng(seed)
    for _ in range(4):
        rng.random()  # whether, gamma, gain, whether none
    rng.standard_normal(len(POINTS), dtype=np.float32)
    fade = rng.uniform(0, 0.02)
    away = [max(0.0, float(np.sqrt(x * x + y * y + z * z)) - 5.0) for x, y, z in POINTS[:, :3].astype(float)]
    seen = (before < 1) & (before > 0)  # not clipped
    assert (np.array(away)[seen] == 0).any() and fade * max(away) > 0.05
    expected = [max(0.0, float(b) - fade * a) for b, a in zip(before, away, strict=True)]
    np.testing.assert_allclose(after[seen], np.array(expected)[seen], atol=1e-6)


def test_probabilities() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(RandomRemission(probability=0.0)(POINTS, rng), POINTS)
    absent = sum(not RandomRemission(absent=0.3)(POINTS[:50], rng)[:, 3].any() for _ in range(1000))
    assert 0.3 * 1000 - 60 < absent < 0.3 * 1000 + 60  # four standard deviations
    assert not RandomRemission(absent=1.0)(POINTS, rng)[:, 3].any()


@pytest.mark.parametrize(
    ("name", "value"), [("gamma", 0.5), ("gain", 0.0), ("noise", -1.0), ("absent", 2.0), ("fade", -1.0)]
)
def test_a_wrong_setting_names_its_key(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"data.augmentation.remission.{name}.*got {value}"):
        RandomRemission(**{name: value})
