from __future__ import annotations

import numpy as np
from fake_scans import random_points

from clusterseg.data.label_map import IGNORE_INDEX
from clusterseg.data.sample import build_sample
from clusterseg.data.transforms import RandomFlip, RandomRotation, RandomScale

TRANSFORMS = (RandomRotation(), RandomScale(), RandomFlip())


def test_features_and_targets_are_those_of_the_first_point() -> None:
    points = random_points(2000, extent=1.0)
    targets = np.arange(2000)
    sample = build_sample(points, targets, "00/000001")
    assert sample.scan_id == "00/000001" and sample.points is None
    np.testing.assert_array_equal(sample.point_targets, targets)
    for voxel in range(0, len(sample.coords), 50):
        members = np.flatnonzero(sample.inverse_map == voxel)
        assert sample.targets[voxel] == members[0]
        np.testing.assert_array_equal(sample.feats[voxel], points[members[0]])


def test_voxels_are_those_of_the_augmented_points_and_points_stay_as_on_disk() -> None:
    points = random_points(500)
    rng = np.random.default_rng(5)
    expected = points
    for transform in TRANSFORMS:
        expected = transform(expected, rng)
    sample = build_sample(points, None, "a/b", transforms=TRANSFORMS, rng=np.random.default_rng(5), keep_points=True)
    plain = build_sample(expected, None, "a/b")
    np.testing.assert_array_equal(sample.coords, plain.coords)
    np.testing.assert_array_equal(sample.feats, plain.feats)
    assert sample.points is not None
    np.testing.assert_array_equal(sample.points, points)


def test_cap_drops_the_points_of_dropped_voxels() -> None:
    points = random_points(3000, extent=1.0)
    targets = np.arange(3000)
    sample = build_sample(points, targets, "a/b", max_voxels=300, rng=np.random.default_rng(0), keep_points=True)
    assert len(sample.coords) == len(sample.feats) == len(sample.targets) == 300
    assert sample.points is not None
    assert len(sample.inverse_map) == len(sample.point_targets) == len(sample.points) < 3000
    np.testing.assert_array_equal(sample.points, points[sample.point_targets])
    first = np.array([np.flatnonzero(sample.inverse_map == voxel)[0] for voxel in range(300)])
    np.testing.assert_array_equal(sample.point_targets[first], sample.targets)


def test_planted_invalid_points_keep_their_labels_and_get_a_voxel() -> None:
    points = random_points(200)
    points[[3, 50, 51, 199], [0, 0, 2, 1]] = [np.nan, np.nan, np.inf, -np.inf]
    targets = np.arange(200)
    sample = build_sample(points, targets, "a/b", transforms=TRANSFORMS, keep_points=True)
    assert np.isfinite(sample.feats).all()
    np.testing.assert_array_equal(sample.point_targets, targets)
    assert not set(sample.targets) & {3, 50, 51, 199}
    assert sample.inverse_map[3] == sample.inverse_map[2]
    assert sample.inverse_map[51] == sample.inverse_map[52]
    assert sample.points is not None
    np.testing.assert_array_equal(sample.points, points)


def test_a_value_that_is_no_position_loses_no_voxel() -> None:
    points = np.c_[random_points(200), np.arange(200)].astype(np.float32)
    whole = build_sample(points, None, "a/b")
    planted = points.copy()
    planted[[3, 50], [3, 4]] = [np.nan, np.inf]
    sample = build_sample(planted, None, "a/b")
    np.testing.assert_array_equal(sample.coords, whole.coords)
    np.testing.assert_array_equal(sample.inverse_map, whole.inverse_map)
    expected = points.copy()
    expected[3, 3] = np.median(np.delete(points[:, 3], 3))
    expected[50, 4] = np.median(np.delete(points[:, 4], 50))
    np.testing.assert_array_equal(sample.feats, build_sample(expected, None, "a/b").feats)


def test_a_column_without_any_finite_value_is_zero() -> None:
    points = random_points(30)
    points[:, 3] = np.nan
    assert (build_sample(points, None, "a/b").feats[:, 3] == 0).all()


def test_without_labels_all_is_ignored() -> None:
    sample = build_sample(random_points(30), None, "a/b")
    assert (sample.targets == IGNORE_INDEX).all() and (sample.point_targets == IGNORE_INDEX).all()
    assert sample.targets.dtype == np.int64
