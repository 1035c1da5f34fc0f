from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_scans import random_points

from clusterseg import compiled
from clusterseg.data.label_map import load_label_map
from clusterseg.data.voxelize import (
    MAX_VOXELS_PER_AXIS,
    Voxels,
    _keep_compiled,
    _keep_native,
    _voxelize_compiled,
    _voxelize_native,
    cap_voxels,
    voxelize,
)
from clusterseg.errors import UserError
from clusterseg.sparse.coords import COORD_LIMIT

needs_library = pytest.mark.skipif(not compiled.is_built(), reason="the parts in C were not built: no C compiler")


@pytest.fixture(params=[True, False], ids=["compiled", "native"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param and not compiled.is_built():
        pytest.skip("the parts in C were not built: no C compiler")
    monkeypatch.setattr(compiled, "is_built", lambda: request.param)


def slow_voxelize(points: np.ndarray, voxel_size: float) -> tuple[list, list, list]:
    """Reference: a dictionary filled point by point, over points with a finite position only."""
    cells = [
        tuple(int(np.round(np.float32(v) / np.float32(voxel_size))) for v in point[:3])
        for point in points
        if np.isfinite(point[:3]).all()
    ]
    rows = [i for i, point in enumerate(points) if np.isfinite(point[:3]).all()]
    low = [min(cell[axis] for cell in cells) for axis in range(3)]
    cells = [tuple(value - base for value, base in zip(cell, low, strict=True)) for cell in cells]
    first: dict[tuple, int] = {}
    for row, cell in zip(rows, cells, strict=True):
        first.setdefault(cell, row)
    ordered = sorted(first)
    place = {cell: i for i, cell in enumerate(ordered)}
    voxel_of = {row: place[cell] for row, cell in zip(rows, cells, strict=True)}
    nearest = [i if i in voxel_of else min(rows, key=lambda r, i=i: (abs(r - i), r)) for i in range(len(points))]
    inverse = [voxel_of[row] for row in nearest]
    return ordered, [first[cell] for cell in ordered], inverse


def assert_equals_reference(voxels: Voxels, points: np.ndarray, voxel_size: float = 0.05) -> None:
    coords, first, inverse = slow_voxelize(points, voxel_size)
    assert voxels.coords.dtype == np.int32 and voxels.inverse_map.dtype == np.int64
    np.testing.assert_array_equal(voxels.coords, coords)
    np.testing.assert_array_equal(voxels.first_point, first)
    np.testing.assert_array_equal(voxels.inverse_map, inverse)


@pytest.mark.parametrize("num_points, extent", [(1, 1.0), (2, 0.01), (800, 0.3), (800, 40.0)])
@pytest.mark.parametrize("voxel_size", [0.05, 0.13])
def test_equals_a_dictionary(num_points: int, extent: float, voxel_size: float) -> None:
    points = random_points(num_points, seed=num_points, extent=extent)
    assert_equals_reference(voxelize(points, voxel_size), points, voxel_size)


def test_wide_scan_whose_key_leaves_no_room_for_the_row() -> None:
    rng = np.random.default_rng(0)
    cells = rng.integers(0, MAX_VOXELS_PER_AXIS, (3000, 3))
    cells[:2] = [[0, 0, 0], [MAX_VOXELS_PER_AXIS - 1] * 3]
    cells = np.concatenate([cells, cells[::-1], cells[::3]])
    points = np.c_[cells, np.zeros(len(cells))].astype(np.float32)
    voxels = voxelize(points, 1.0)
    assert len(voxels) == 3000
    assert_equals_reference(voxels, points, 1.0)


def test_ties_round_to_even() -> None:
    points = np.array([[0, 0, 0, 0], [0.5, 1.5, 2.5, 0], [8, 8, 8, 0]], np.float32)
    assert voxelize(points, 1.0).coords.tolist() == [[0, 0, 0], [0, 2, 2], [8, 8, 8]]


@pytest.mark.parametrize("name", ["small", "small_batch2", "lidar"])
def test_equals_the_original_row_by_row(shared: Path, name: str) -> None:
    golden = np.load(shared / "golden" / f"golden_{name}.npz")
    label_map = load_label_map("semantickitti_release")
    first_point = 0
    for batch, key in enumerate(sorted(key for key in golden.files if key.startswith("raw_points"))):
        points, raw = golden[key], golden[key.replace("points", "labels")]
        voxels = voxelize(points)
        rows = golden["coords"][:, 3] == batch
        targets = label_map.to_train(raw)
        mine = slice(first_point, first_point + len(points))
        np.testing.assert_array_equal(voxels.coords, golden["coords"][rows, :3])
        np.testing.assert_array_equal(points[voxels.first_point], golden["feats"][rows])
        np.testing.assert_array_equal(targets[voxels.first_point], golden["targets"][rows])
        np.testing.assert_array_equal(voxels.inverse_map, golden["inverse_map"][mine])
        np.testing.assert_array_equal(targets, golden["targets_mapped"][mine])
        first_point += len(points)
    assert first_point == len(golden["inverse_map"])


def test_points_that_are_not_finite_take_the_voxel_of_the_nearest_valid_one() -> None:
    points = random_points(60, extent=2.0)
    points[[0, 1, 10, 11, 12, 59], [0, 1, 2, 1, 0, 1]] = [np.nan, np.inf, -np.inf, np.nan, np.inf, np.nan]
    voxels = voxelize(points)
    assert_equals_reference(voxels, points)
    assert voxels.inverse_map[0] == voxels.inverse_map[2]
    assert voxels.inverse_map[11] == voxels.inverse_map[9]  # 9 and 13 are as near: the earlier one
    assert voxels.inverse_map[12] == voxels.inverse_map[13]
    assert voxels.inverse_map[59] == voxels.inverse_map[58]
    assert np.isfinite(points[voxels.first_point]).all()


def test_no_finite_point() -> None:
    with pytest.raises(UserError, match="none of the 5 points is finite"):
        voxelize(np.full((5, 4), np.nan, np.float32))


@pytest.mark.parametrize("far", [6554.0, 1e9, 3e38])
def test_too_wide(far: float) -> None:
    points = np.zeros((3, 4), np.float32)
    points[1, 1] = far
    with pytest.raises(UserError, match=r"data\.voxel_size=0\.05.*131008"):
        voxelize(points)


def test_widest_that_fits() -> None:
    points = np.array([[-65503, 0, 0, 0], [65504, 0, 0, 0]], np.float32)
    assert voxelize(points, 1.0).coords[:, 0].tolist() == [0, MAX_VOXELS_PER_AXIS - 1]
    points[1, 0] += 1
    with pytest.raises(UserError, match="spans 131009, 1, 1 voxels"):
        voxelize(points, 1.0)


def test_the_engine_takes_the_widest_that_fits() -> None:
    assert MAX_VOXELS_PER_AXIS == COORD_LIMIT


def test_cap_keeps_a_random_subset_and_its_points() -> None:
    points = random_points(3000, extent=1.0)
    whole = voxelize(points)
    capped, kept = cap_voxels(whole, 500, np.random.default_rng(0))
    assert len(capped) == 500 < len(whole)
    assert len(np.unique(capped.coords, axis=0)) == 500
    assert capped.inverse_map.min() == 0 and capped.inverse_map.max() == 499
    np.testing.assert_array_equal(capped.coords[capped.inverse_map], whole.coords[whole.inverse_map[kept]])
    chosen = {tuple(c) for c in capped.coords.tolist()}
    expected = [i for i, v in enumerate(whole.inverse_map) if tuple(whole.coords[v].tolist()) in chosen]
    np.testing.assert_array_equal(kept, expected)
    np.testing.assert_array_equal(voxelize(points[capped.first_point]).coords.shape, (500, 3))
    other, _ = cap_voxels(whole, 500, np.random.default_rng(1))
    assert not np.array_equal(other.coords, capped.coords)


def test_cap_draws_every_voxel_alike() -> None:
    whole = voxelize(random_points(400, extent=1.0))
    times = np.zeros(len(whole))
    for seed in range(400):
        capped, _ = cap_voxels(whole, len(whole) // 2, np.random.default_rng(seed))
        times[np.isin(whole.first_point, capped.first_point)] += 1
    assert abs(times.mean() - 200) < 1
    assert times.min() > 140 and times.max() < 260  # six standard deviations of a fair coin


def test_cap_above_the_count_changes_nothing() -> None:
    whole = voxelize(random_points(100))
    capped, kept = cap_voxels(whole, len(whole), np.random.default_rng(0))
    assert capped is whole and kept.tolist() == list(range(100))


@needs_library
@pytest.mark.parametrize("voxel_size", [0.05, 1.0])
def test_both_ways_are_one_on_a_large_scan(voxel_size: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(0, [30, 30, 2, 1], (120_000, 4)).astype(np.float32)
    points[::3] = np.round(points[::3] * 2) / 2  # many on the border of two voxels of a metre
    a, b = _voxelize_compiled(points, voxel_size), _voxelize_native(points, voxel_size)
    stays = rng.random(len(a)) < 0.5
    (c, kept), (d, same) = _keep_compiled(a, stays), _keep_native(b, stays)
    assert 0 < len(c) < len(a) < len(points)
    for one, other in ((a, b), (c, d)):
        np.testing.assert_array_equal(one.coords, other.coords)
        np.testing.assert_array_equal(one.first_point, other.first_point)
        np.testing.assert_array_equal(one.inverse_map, other.inverse_map)
    np.testing.assert_array_equal(kept, same)
