"""Labelled scans from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.label_map import LabelMap
from clusterseg.data.scan import naming, read_labels, read_scan


def read_labelled(scan: Path, label: Path, label_map: LabelMap) -> LabelledScan:
    """Read the points and labels of one scan; a value that is not finite becomes NaN.

    Args:
        scan: A `.bin` file.
        label: Its `.label` file: low 16 bits the semantic id, high 16 bits the instance.
        label_map: Raw ids to train ids.

    Raises:
        UserError: A file is missing, unreadable, of a wrong size, or has an unknown label.
    """
    points = read_scan(scan)
    raw = read_labels(label, len(points))
    with naming(label):
        targets = label_map.to_train(raw)
    finite = np.isfinite(points)
    if not finite.all():
        points = np.where(finite, points, np.float32(np.nan))
    return LabelledScan(points, targets, (raw >> 16).astype(np.int64))
