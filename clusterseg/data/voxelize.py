"""Voxelisation: convert points in metres to the voxels of a sparse grid, with the inverse map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32, Int64

from clusterseg import compiled
from clusterseg.errors import UserError

VOXEL_SIZE = 0.05  # metres, as SPVNAS trains
MAX_VOXELS_PER_AXIS = 131_008  # limit of the engine's keys, minus a border for neighbours


@dataclass(frozen=True, eq=False)
class Voxels:
    """The occupied voxels of one scan, in ascending order of (x, y, z).

    Attributes:
        coords: Voxel indices, each axis from 0.
        first_point: Row of the first point of each voxel, in the order of the file.
        inverse_map: Voxel of each point.
    """

    coords: Int32[np.ndarray, "voxels 3"]
    first_point: Int64[np.ndarray, " voxels"]
    inverse_map: Int64[np.ndarray, " points"]

    def __len__(self) -> int:
        return len(self.coords)


def voxelize(points: Float32[np.ndarray, "points channels"], voxel_size: float = 0.05) -> Voxels:
    """Group points into voxels: round(xyz / voxel_size), shifted so that each axis starts at 0, as SPVNAS does.

    A point whose position is NaN or infinite creates no voxel; it belongs to the voxel of the nearest valid point in
    the order of the file (the earlier one of two). Other columns are ignored.

    Args:
        points: x, y, z in metres, then any other columns.
        voxel_size: Edge of a voxel in metres.

    Raises:
        UserError: No position is finite, or the scan spans more than `MAX_VOXELS_PER_AXIS` voxels along an axis.
    """
    finite = np.isfinite(points)
    if finite.all():
        return _voxelize_finite(points, voxel_size)
    valid = finite[:, :3].all(axis=1)
    if valid.all():
        return _voxelize_finite(points, voxel_size)
    if not valid.any():
        raise UserError(f"none of the {len(points)} points is finite; remove the scan or download it again")
    rows = np.flatnonzero(valid)
    voxels = _voxelize_finite(points[valid], voxel_size)
    return Voxels(voxels.coords, rows[voxels.first_point], voxels.inverse_map[_nearest_valid(valid)])


def cap_voxels(voxels: Voxels, max_voxels: int, rng: np.random.Generator) -> tuple[Voxels, Int64[np.ndarray, " kept"]]:
    """Select a random subset of `max_voxels` voxels without replacement, and their points.

    Returns:
        The voxels left, whose inverse map covers only the points left; and the rows of the points left. `first_point`
        still counts rows of the whole point list.
    """
    if len(voxels) <= max_voxels:
        return voxels, np.arange(len(voxels.inverse_map))
    stays = np.zeros(len(voxels), bool)
    stays[rng.choice(len(voxels), max_voxels, replace=False)] = True
    return (_keep_compiled if compiled.is_built() else _keep_native)(voxels, stays)


def _keep_native(voxels: Voxels, stays: Bool[np.ndarray, " voxels"]) -> tuple[Voxels, Int64[np.ndarray, " kept"]]:
    chosen = np.flatnonzero(stays)
    kept = np.flatnonzero(stays.take(voxels.inverse_map))
    inverse_map = (np.cumsum(stays) - 1).take(voxels.inverse_map[kept])
    return Voxels(voxels.coords[chosen], voxels.first_point[chosen], inverse_map), kept


def _keep_compiled(voxels: Voxels, stays: Bool[np.ndarray, " voxels"]) -> tuple[Voxels, Int64[np.ndarray, " kept"]]:
    count = np.count_nonzero(stays)
    num_points, num_kept = len(voxels.inverse_map), np.empty(1, np.int64)
    coords, first_point = np.empty((count, 3), np.int32), np.empty(count, np.int64)
    inverse_map, kept = np.empty(num_points, np.int64), np.empty(num_points, np.int64)
    given = (stays, *(np.ascontiguousarray(a) for a in (voxels.coords, voxels.first_point, voxels.inverse_map)))
    made = (coords, first_point, inverse_map, kept, num_kept)
    compiled.call("keep_voxels", *given, *made, len(voxels), num_points)
    return Voxels(coords, first_point, inverse_map[: num_kept[0]]), kept[: num_kept[0]]


def _voxelize_finite(points: Float32[np.ndarray, "points channels"], voxel_size: float) -> Voxels:
    return (_voxelize_compiled if compiled.is_built() else _voxelize_native)(points, voxel_size)


def _voxelize_compiled(points: Float32[np.ndarray, "points channels"], voxel_size: float) -> Voxels:
    num_points, channels = points.shape
    coords, count = np.empty((num_points, 3), np.int32), np.empty(1, np.int64)
    first_point, inverse_map = np.empty(num_points, np.int64), np.empty(num_points, np.int64)
    given = np.ascontiguousarray(points, np.float32)
    sizes = (num_points, channels, voxel_size, MAX_VOXELS_PER_AXIS)
    compiled.call("voxelize", given, coords, first_point, inverse_map, count, *sizes)
    if count[0] < 0:  # a scan that is too wide, which is an error there, or whose keys do not fit
        return _voxelize_native(points, voxel_size)
    return Voxels(coords[: count[0]], first_point[: count[0]], inverse_map)


def _voxelize_native(points: Float32[np.ndarray, "points channels"], voxel_size: float) -> Voxels:
    # float32 throughout, as in the original: the last bit decides to which voxel a point on a border belongs.
    with np.errstate(over="ignore", invalid="ignore"):
        grid = np.ascontiguousarray(points[:, :3].T)
        grid /= np.float32(voxel_size)
        np.rint(grid, out=grid)
        grid -= grid.min(axis=1, keepdims=True)
    extent = grid.max(axis=1)
    if not (extent < MAX_VOXELS_PER_AXIS).all():
        raise UserError(
            f"the scan spans {', '.join(f'{size:.0f}' for size in extent + 1)} voxels along x, y, z at "
            f"data.voxel_size={voxel_size}; at most {MAX_VOXELS_PER_AXIS} fit: raise data.voxel_size, "
            "or remove the far points"
        )
    indices = grid.astype(np.int32)
    first_point, inverse_map = _group(indices, [int(size).bit_length() for size in extent])
    return Voxels(np.ascontiguousarray(indices.T).take(first_point, axis=0), first_point, inverse_map)


def _group(
    grid: Int32[np.ndarray, "3 points"], bits: list[int]
) -> tuple[Int64[np.ndarray, " voxels"], Int64[np.ndarray, " points"]]:
    """Return the first point of each distinct column, in ascending order of the columns, and each column's group."""
    key = grid[0].astype(np.int64)
    for row, width in zip(grid[1:], bits[1:], strict=True):
        key <<= width
        key |= row
    num_points = len(key)
    # PyTorch sorts integers by radix, several times faster than numpy's comparison sort.
    if sum(bits) <= 31:
        key = key.astype(np.int32)
    keys, rows = torch.from_numpy(key).sort(stable=True)
    key, order = keys.numpy(), rows.numpy()
    is_first = np.ones(num_points, bool)
    np.not_equal(key[1:], key[:-1], out=is_first[1:])
    inverse_map = np.empty(num_points, np.int64)
    voxel = np.cumsum(is_first)
    voxel -= 1
    inverse_map[order] = voxel
    return order[np.flatnonzero(is_first)], inverse_map


def _nearest_valid(valid: Bool[np.ndarray, " points"]) -> Int64[np.ndarray, " points"]:
    """Return for every point the nearest valid point in the file order, as an index among the valid points."""
    rows = np.flatnonzero(valid)
    points = np.arange(len(valid))
    after = np.searchsorted(rows, points).clip(max=len(rows) - 1)
    before = (after - 1).clip(min=0)
    return np.where(np.abs(points - rows[before]) <= np.abs(rows[after] - points), before, after)
