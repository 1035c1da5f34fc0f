"""Convert a reader's scans to labelled scans."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int64

from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.label_map import IGNORE_INDEX, LabelMap
from clusterseg.data.reader import Scan


def labelled(scan: Scan, label_map: LabelMap, subjects: Int64[np.ndarray, " points"] | None = None) -> LabelledScan:
    """Convert a scan to the input of a mix; values that are not finite become NaN.

    Args:
        scan: The scan. Without labels every target is `IGNORE_INDEX` and every instance number 0.
        label_map: Raw ids to train ids.
        subjects: Subject of each point, if something asks for them.

    Raises:
        UserError: A label is unknown. The caller adds the file's name.
    """
    finite, raw = np.isfinite(scan.points), scan.labels
    points = scan.points if finite.all() else np.where(finite, scan.points, np.float32(np.nan))
    if raw is None:
        return LabelledScan(points, np.full(len(points), IGNORE_INDEX, np.int64), np.zeros(len(points), np.int64))
    return LabelledScan(points, label_map.to_train(raw), raw.astype(np.int64) >> 16, subjects)
