"""Jitter and translation: every point moves, no other channel does."""

from __future__ import annotations

import numpy as np
import pytest
from fake_scans import random_points

from clusterseg.data.augment import RandomJitter, RandomTranslation
from clusterseg.data.transforms import Transform
from clusterseg.errors import UserError

POINTS = np.c_[random_points(3000), np.arange(3000)].astype(np.float32)  # a fifth channel


@pytest.mark.parametrize("transform", [RandomJitter(), RandomTranslation()])
def test_is_a_pure_function(transform: Transform) -> None:
    before = POINTS.copy()
    first, again = (transform(POINTS, np.random.default_rng(3)) for _ in range(2))
    other = transform(POINTS, np.random.default_rng(4))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(POINTS, before)
    assert not np.array_equal(first, other)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first[:, 3:], POINTS[:, 3:])


@pytest.mark.parametrize("transform", [RandomJitter(probability=0.0), RandomTranslation(probability=0.0)])
def test_probability_0_changes_nothing(transform: Transform) -> None:
    np.testing.assert_array_equal(transform(POINTS, np.random.default_rng(0)), POINTS)


def test_jitter_is_gaussian_and_clipped() -> None:
    noise = RandomJitter(sigma=0.1, clip=0.15)(POINTS, np.random.default_rng(0))[:, :3].astype(float) - POINTS[:, :3]
    assert np.abs(noise).max() <= 0.15 + 1e-5
    at_the_clip = (np.abs(noise) > 0.15 - 1e-5).mean()
    assert at_the_clip == pytest.approx(0.1336, abs=0.01)  # beyond 1.5 standard deviations
    assert np.median(np.abs(noise)) == pytest.approx(0.0674, abs=0.004)
    assert np.abs(np.corrcoef(noise.T) - np.eye(3)).max() < 0.06


def test_translation_moves_all_points_alike() -> None:
    moves = []
    for seed in range(300):
        move = RandomTranslation(0.5, 0.2, 0.0)(POINTS, np.random.default_rng(seed))[:, :3] - POINTS[:, :3]
        np.testing.assert_allclose(move, np.broadcast_to(move[0], move.shape), atol=1e-5)
        moves.append(move[0])
    np.testing.assert_allclose(np.std(moves, axis=0), (0.5, 0.2, 0), rtol=0.15, atol=1e-6)


def test_nan_stays_nan() -> None:
    points = POINTS.copy()
    points[7, :3] = np.nan
    for transform in (RandomJitter(), RandomTranslation()):
        moved = transform(points, np.random.default_rng(0))
        assert np.isnan(moved[7, :3]).all() and np.isfinite(np.delete(moved, 7, axis=0)).all()


@pytest.mark.parametrize("name, value", [("sigma", -1.0), ("clip", -0.1), ("probability", 1.5)])
def test_impossible_jitter(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"data\.augmentation\.jitter\.{name}: got {value}; expected"):
        RandomJitter(**{name: value})


@pytest.mark.parametrize("name, value", [("x", -1.0), ("z", float("nan")), ("probability", -0.5)])
def test_impossible_translation(name: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"data\.augmentation\.translation\.{name}: got {value}; expected"):
        RandomTranslation(**{name: value})
