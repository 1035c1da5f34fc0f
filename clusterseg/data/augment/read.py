"""Convert a reader's scans to labelled scans."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64, UInt32

from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.label_map import IGNORE_INDEX, LabelMap
from clusterseg.data.reader import Scan
from clusterseg.data.scan import naming


def labelled(scan: Scan, label_map: LabelMap, subjects: Int64[np.ndarray, " points"] | None = None) -> LabelledScan:
    """Convert a scan, its context included, to the input of a mix; values that are not finite become NaN.

    Args:
        scan: The scan. Without labels every target is `IGNORE_INDEX` and every instance number 0.
        label_map: Raw ids to train ids.
        subjects: Subject of each point, if something asks for them.

    Raises:
        UserError: A label is unknown. The caller adds the file's name.
    """
    points, targets = all_points(scan), all_targets(scan, label_map)
    finite = np.isfinite(points)
    points = points if finite.all() else np.where(finite, points, np.float32(np.nan))
    if targets is None:
        return LabelledScan(points, np.full(len(points), IGNORE_INDEX, np.int64), np.zeros(len(points), np.int64))
    instances = np.concatenate([_instances(part) for part in _parts(scan)])
    return LabelledScan(points, targets, instances, subjects)


def all_points(scan: Scan) -> Float32[np.ndarray, "points channels"]:
    """Return the points of a scan, then those of its context."""
    return scan.points if scan.context is None else np.concatenate([scan.points, scan.context.points])


def all_targets(scan: Scan, label_map: LabelMap) -> Int64[np.ndarray, " points"] | None:
    """Return the train ids of a scan, then those of its context, ignored where that has no labels.

    Returns:
        None if the scan has no labels.

    Raises:
        UserError: A label is unknown. The caller adds the file's name.
    """
    if scan.labels is None:
        return None
    targets = label_map.to_train(scan.labels)
    if scan.context is None:
        return targets
    ignored = np.full(len(scan.context.points), IGNORE_INDEX, np.int64)
    with naming("a scan before it"):
        others = ignored if scan.context.labels is None else label_map.to_train(scan.context.labels)
    return np.concatenate([targets, others])


def all_labels(scan: Scan) -> UInt32[np.ndarray, " points"]:
    """Return the raw labels of a scan, then those of its context, 0 where a part has none."""
    parts = [np.zeros(len(p.points), np.uint32) if p.labels is None else p.labels for p in _parts(scan)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _parts(scan: Scan) -> list[Scan]:
    return [scan] if scan.context is None else [scan, scan.context]


def _instances(scan: Scan) -> Int64[np.ndarray, " points"]:
    return np.zeros(len(scan.points), np.int64) if scan.labels is None else scan.labels.astype(np.int64) >> 16
