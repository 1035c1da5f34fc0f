from __future__ import annotations

import math

import numpy as np
import pytest
from fake_scans import random_points

from clusterseg.data.transforms import RandomFlip, RandomRotation, RandomScale, Transform
from clusterseg.errors import UserError

POINTS = random_points(300)


def draw(transform: Transform, times: int = 200) -> list[np.ndarray]:
    return [transform(POINTS, np.random.default_rng(seed)) for seed in range(times)]


@pytest.mark.parametrize("transform", [RandomRotation(), RandomScale(), RandomFlip()])
def test_is_a_pure_function(transform: Transform) -> None:
    before = POINTS.copy()
    first, second = (transform(POINTS, np.random.default_rng(3)) for _ in range(2))
    other = transform(POINTS, np.random.default_rng(4))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(POINTS, before)
    assert first.dtype == np.float32 and first is not POINTS
    np.testing.assert_array_equal(first[:, 3], POINTS[:, 3])


def test_rotation_is_a_rotation_about_z_over_the_whole_turn() -> None:
    angles = []
    for rotated in draw(RandomRotation()):
        turned = (rotated[:, 0] + 1j * rotated[:, 1]) / (POINTS[:, 0] + 1j * POINTS[:, 1])
        np.testing.assert_allclose(turned, turned[0], atol=1e-4)
        np.testing.assert_allclose(abs(turned), 1, atol=1e-5)
        np.testing.assert_array_equal(rotated[:, 2], POINTS[:, 2])
        angles.append(np.angle(turned[0]))
    assert min(angles) < -3 and max(angles) > 3


def test_rotation_range_is_in_radians() -> None:
    angles = [
        math.atan2(r[0, 1], r[0, 0]) - math.atan2(POINTS[0, 1], POINTS[0, 0])
        for r in draw(RandomRotation(max_angle=0.1))
    ]
    assert 0.09 < max(angles) <= 0.1001 and -0.1001 <= min(angles) < -0.09


def test_scale_is_one_factor_within_its_range() -> None:
    factors = []
    for scaled in draw(RandomScale()):
        ratio = scaled[:, :3] / POINTS[:, :3]
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
        factors.append(ratio[0, 0])
    assert 0.95 <= min(factors) < 0.955 and 1.045 < max(factors) <= 1.0501


def test_flip_mirrors_each_axis_on_its_own() -> None:
    signs = {tuple(np.sign(f[0, :3] * POINTS[0, :3]).astype(int)) for f in draw(RandomFlip())}
    assert signs == {(1, 1, 1), (-1, 1, 1), (1, -1, 1), (-1, -1, 1)}
    np.testing.assert_array_equal(draw(RandomFlip(x=0.0, y=1.0), 1)[0], POINTS * np.float32([1, -1, 1, 1]))


@pytest.mark.parametrize("low, high", [(0.0, 1.0), (1.1, 1.0), (-1.0, 1.0)])
def test_impossible_scale(low: float, high: float) -> None:
    with pytest.raises(UserError, match=r"data\.augmentation\.scale"):
        RandomScale(low, high)


def test_impossible_flip() -> None:
    with pytest.raises(UserError, match=r"data\.augmentation\.flip"):
        RandomFlip(x=1.5)
