"""One scan prepared for a batch: its voxels, and the mapping from points to voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64

from clusterseg.data.label_map import IGNORE_INDEX
from clusterseg.data.transforms import Transform
from clusterseg.data.voxelize import Voxels, cap_voxels, voxelize


@dataclass(frozen=True, eq=False)
class View:
    """The voxels of a second augmentation of a scan.

    Attributes:
        coords: Voxel indices x, y, z, each axis from 0.
        feats: As `Sample.feats`.
        rows: For each voxel of the sample, the row here of the voxel that holds its first point; -1 if the cap has
            removed it.
    """

    coords: Int32[np.ndarray, "view_voxels 3"]
    feats: Float32[np.ndarray, "view_voxels channels"]
    rows: Int64[np.ndarray, " voxels"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One scan after augmentation and voxelisation.

    Attributes:
        scan_id: Sequence and frame, e.g. `08/000004`.
        coords: Voxel indices x, y, z, each axis from 0.
        feats: x, y, z (metres, augmented), remission or other columns of the voxel's first point; all are finite.
        targets: Train id of the voxel's first point.
        inverse_map: Voxel of each point.
        point_targets: Train id of each point.
        points: x, y, z, remission or other columns of each point as on disk, or None if not requested.
        context: The same columns of the points of other scans, which have voxels but are none of the points; None
            without any, or if not requested.
        subjects: Subject of the voxel's first point, see `clusterseg.data.subjects`, or None if not requested.
        point_subjects: Subject of each point, or None.
        view: The same points in a second augmentation, or None if not requested.
    """

    scan_id: str
    coords: Int32[np.ndarray, "voxels 3"]
    feats: Float32[np.ndarray, "voxels channels"]
    targets: Int64[np.ndarray, " voxels"]
    inverse_map: Int64[np.ndarray, " points"]
    point_targets: Int64[np.ndarray, " points"]
    points: Float32[np.ndarray, "points channels"] | None = None
    context: Float32[np.ndarray, "others channels"] | None = None
    subjects: Int64[np.ndarray, " voxels"] | None = None
    point_subjects: Int64[np.ndarray, " points"] | None = None
    view: View | None = None


def build_sample(
    points: Float32[np.ndarray, "points channels"],
    targets: Int64[np.ndarray, " points"] | None,
    scan_id: str,
    *,
    voxel_size: float = 0.05,
    max_voxels: int | None = None,
    transforms: Sequence[Transform] = (),
    rng: np.random.Generator | None = None,
    keep_points: bool = False,
    num_points: int | None = None,
    subjects: Int64[np.ndarray, " points"] | None = None,
    view_rng: np.random.Generator | None = None,
) -> Sample:
    """Augment, voxelise and cap one scan.

    Args:
        points: x, y, z in metres, remission or other columns, as on disk. A point whose position is not finite gets a
            prediction but no voxel; another value that is not finite becomes the median of its column's finite ones.
        targets: Train id per point; None without labels, then all are `IGNORE_INDEX`.
        scan_id: Sequence and frame, e.g. `08/000004`.
        voxel_size: Edge of a voxel in metres.
        max_voxels: Maximum number of voxels, drawn at random; the points of the others are removed.
        transforms: Applied in this order.
        rng: The source of every random draw of the transforms and the cap; seed 0 if not given.
        keep_points: Whether the sample contains the points as on disk.
        num_points: The first so many rows are the scan's points, the others its context; None for all.
        subjects: Subject per point, if something asks for them.
        view_rng: The source of every random draw of a second view; None for a sample without one.

    Raises:
        UserError: See `voxelize`.
    """
    if targets is None:
        targets = np.full(len(points), IGNORE_INDEX, np.int64)
    rng = rng or np.random.default_rng(0)
    whole = _mend_invalid(points)
    augmented, voxels = _voxels(whole, voxel_size, transforms, rng)
    point_targets, point_subjects, own = targets, subjects, len(points) if num_points is None else num_points
    if max_voxels is not None and len(voxels) > max_voxels:
        voxels, stays = cap_voxels(voxels, max_voxels, rng)
        point_targets, own = targets.take(stays), int(np.searchsorted(stays, own))
        point_subjects = None if subjects is None else subjects.take(stays)
        points = points.take(stays, axis=0) if keep_points else points
    return Sample(
        scan_id=scan_id,
        coords=voxels.coords,
        feats=augmented.take(voxels.first_point, axis=0),  # six times faster than row indexing
        targets=targets.take(voxels.first_point),
        inverse_map=voxels.inverse_map[:own],
        point_targets=point_targets[:own],
        points=points[:own] if keep_points else None,
        context=points[own:] if keep_points and own < len(points) else None,
        subjects=None if subjects is None else subjects.take(voxels.first_point),
        point_subjects=None if point_subjects is None else point_subjects[:own],
        view=None if view_rng is None else _view(whole, voxels, voxel_size, max_voxels, transforms, view_rng),
    )


def _voxels(
    points: np.ndarray, voxel_size: float, transforms: Sequence[Transform], rng: np.random.Generator
) -> tuple[np.ndarray, Voxels]:
    """Return the augmented points (points, channels) and their voxels."""
    for transform in transforms:
        points = transform(points, rng)
    return points, voxelize(points, voxel_size)


def _view(
    points: np.ndarray,
    first: Voxels,
    voxel_size: float,
    max_voxels: int | None,
    transforms: Sequence[Transform],
    rng: np.random.Generator,
) -> View:
    """Augment and voxelise the points (points, channels) once more, and find the voxels of `first` in the result."""
    augmented, voxels = _voxels(points, voxel_size, transforms, rng)
    rows = voxels.inverse_map
    if max_voxels is not None and len(voxels) > max_voxels:
        voxels, stays = cap_voxels(voxels, max_voxels, rng)
        rows = np.full(len(points), -1, np.int64)
        rows[stays] = voxels.inverse_map
    return View(voxels.coords, augmented.take(voxels.first_point, axis=0), rows[first.first_point])


def _mend_invalid(points: Float32[np.ndarray, "points channels"]) -> Float32[np.ndarray, "points channels"]:
    """Replace positions that are not finite by NaN, and other values by the median of their column, or 0.

    Transforms propagate NaN; infinity would raise warnings.
    """
    finite = np.isfinite(points)
    if finite.all():
        return points
    mended = np.where(finite, points, np.float32(np.nan))
    for column in range(3, points.shape[1]):
        values = points[finite[:, column], column]
        mended[~finite[:, column], column] = np.median(values) if len(values) else 0
    return mended
