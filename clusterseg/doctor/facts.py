"""The figures of one scan, from which all checks are made."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Int64, Integer

from clusterseg.data.augment.read import all_points
from clusterseg.data.label_map import IGNORE_INDEX, LabelMap
from clusterseg.data.reader import Scan
from clusterseg.data.voxelize import voxelize
from clusterseg.errors import UserError

REMISSION = ("remission", "intensity")
_COMMONEST = 20  # unknown label ids of a scan: a damaged file could have thousands
_QUANTILES = (0, 1, 50, 99, 100)


@dataclass(frozen=True, eq=False)
class ScanFacts:
    """The figures of one scan; a few hundred bytes, whatever the scan's size.

    Attributes:
        split: The split that lists it.
        scan_id: Its name in the data set.
        source: Its file, for messages.
        error: Why it cannot be read, or None. Then all that follows is empty.
        points: Number of points.
        misplaced: Points whose position is not finite.
        invalid: Points with a position and another value that is not finite.
        at_origin: Points at exactly (0, 0, 0), as sensors write beams without a return.
        size: Extent along x, y, z in metres.
        reach: 99th percentile of the distance from the origin, in metres.
        step: Resolution in metres of float32 at the median of the largest coordinate of a point.
        voxels: Occupied voxels, with those of the scan's context; None if they do not fit into the grid.
        remission: Minimum, 1st percentile, median, 99th percentile, maximum; None without a finite remission.
        labelled: Whether it has labels.
        classes: Points of each train id, then of ignored points.
        unknown: Number of points of the commonest raw ids that the label map lacks.
        digest: Hash of the points; equal for equal scans.
        ladder: Points per voxel by voxel size in metres, for scans that are measured at several.
    """

    split: str
    scan_id: str
    source: str
    error: str | None = None
    points: int = 0
    misplaced: int = 0
    invalid: int = 0
    at_origin: int = 0
    size: tuple[float, ...] = (0.0, 0.0, 0.0)
    reach: float = 0.0
    step: float = 0.0
    voxels: int | None = 0
    remission: tuple[float, ...] | None = None
    labelled: bool = False
    classes: Int64[np.ndarray, " classes_and_ignored"] = field(default_factory=lambda: np.zeros(0, np.int64))
    unknown: Mapping[int, int] = field(default_factory=dict)
    digest: bytes = b""
    ladder: Mapping[float, float] = field(default_factory=dict)


def measure(
    scan: Scan,
    names: tuple[str, str, str],
    features: Sequence[str],
    label_map: LabelMap,
    voxel_size: float,
    ladder: Sequence[float] = (),
) -> ScanFacts:
    """Measure a scan.

    Args:
        scan: Points and labels, whose shapes were checked.
        names: Split, scan id, and source, as in `ScanFacts`.
        features: Names of the columns of the points.
        label_map: The classes.
        voxel_size: Edge of a voxel in metres.
        ladder: Other edges at which the voxels are counted, too.
    """
    columns = np.ascontiguousarray(scan.points.T)  # sums along columns are several times faster than along rows
    finite = np.isfinite(columns)
    placed = finite[:3].all(axis=0)
    classes, unknown = _labels(scan.labels, label_map)
    size, reach, step = _extent(columns[:3] if placed.all() else columns[:3, placed])
    seen = all_points(scan)
    voxels = {edge: _voxels(seen, edge) for edge in (voxel_size, *ladder)}
    return ScanFacts(
        *names,
        points=len(scan.points),
        misplaced=int((~placed).sum()),
        invalid=int((placed & ~finite.all(axis=0)).sum()),
        at_origin=int((columns[:3] == 0).all(axis=0).sum()),
        size=size,
        reach=reach,
        step=step,
        voxels=voxels[voxel_size],
        remission=_remission(columns, finite, features),
        labelled=scan.labels is not None,
        classes=classes,
        unknown=unknown,
        digest=hashlib.blake2b(np.ascontiguousarray(scan.points).data, digest_size=16).digest(),
        ladder={edge: len(seen) / count for edge in ladder if (count := voxels[edge]) is not None},
    )


def _labels(
    labels: Integer[np.ndarray, " points"] | None, label_map: LabelMap
) -> tuple[Int64[np.ndarray, " classes_and_ignored"], dict[int, int]]:
    """Return the points of each train id and of ignored ones, and those of each unknown raw id."""
    classes = np.zeros(label_map.num_classes + 1, np.int64)
    if labels is None:
        return classes, {}
    raw = np.bincount(labels.astype(np.int64) & 0xFFFF)
    ids = np.flatnonzero(raw)
    train = label_map.raw_to_train[ids]
    known = train >= 0
    rows = np.where(train[known] == IGNORE_INDEX, label_map.num_classes, train[known])
    np.add.at(classes, rows, raw[ids[known]])
    strange = ids[~known]
    commonest = strange[np.argsort(-raw[strange], kind="stable")[:_COMMONEST]]
    return classes, {int(i): int(raw[i]) for i in commonest}


def _extent(xyz: Float32[np.ndarray, "3 points"]) -> tuple[tuple[float, ...], float, float]:
    """Return the extent along each axis, the reach, and the resolution of the coordinates."""
    if not xyz.size:
        return (0.0, 0.0, 0.0), 0.0, 0.0
    size = xyz.max(axis=1).astype(np.float64) - xyz.min(axis=1)
    far = np.percentile(np.square(xyz, dtype=np.float64).sum(axis=0), 99)
    step = np.spacing(np.median(np.abs(xyz).max(axis=0)).astype(np.float32))
    return tuple(size.tolist()), math.sqrt(far), float(step)


def _voxels(points: Float32[np.ndarray, "points channels"], voxel_size: float) -> int | None:
    try:
        return len(voxelize(points, voxel_size))
    except UserError:
        return None


def _remission(
    columns: Float32[np.ndarray, "channels points"],
    finite: Bool[np.ndarray, "channels points"],
    features: Sequence[str],
) -> tuple[float, ...] | None:
    """Return some quantiles of the finite values."""
    row = next((i for i, name in enumerate(features) if name in REMISSION), None)
    if row is None or not finite[row].any():
        return None
    return tuple(np.percentile(columns[row][finite[row]], _QUANTILES).tolist())
