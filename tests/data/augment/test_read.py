from __future__ import annotations

import numpy as np
import pytest
from fake_scans import random_points
from made_scans import LABEL_MAP

from clusterseg.data.augment.read import labelled
from clusterseg.data.reader import Scan
from clusterseg.errors import UserError


@pytest.mark.parametrize("dtype", [np.uint32, np.int64])
def test_points_targets_and_instances(dtype: type) -> None:
    points = random_points(4)
    points[1, 2], points[2, 0] = np.inf, np.nan
    raw = np.array([10 | 3 << 16, 40, 252 | 65535 << 16, 0], dtype)
    scan = labelled(Scan(points, raw), LABEL_MAP)
    np.testing.assert_array_equal(scan.points, np.where(np.isfinite(points), points, np.nan))
    assert points[1, 2] == np.inf, "the reader's array stays"
    assert scan.targets.tolist() == [0, 8, 0, 255]
    assert scan.instances.tolist() == [3, 0, 65535, 0]


def test_labels_of_few_bits_have_no_instances() -> None:
    scan = labelled(Scan(random_points(2), np.array([10, 40], np.uint8)), LABEL_MAP)
    assert scan.targets.tolist() == [0, 8] and scan.instances.tolist() == [0, 0]


def test_without_labels() -> None:
    scan = labelled(Scan(random_points(2)), LABEL_MAP)
    assert scan.targets.tolist() == [255, 255] and scan.instances.tolist() == [0, 0]


def test_an_unknown_label() -> None:
    with pytest.raises(UserError, match=r"unknown label ids \[7\]"):
        labelled(Scan(random_points(1), np.array([7])), LABEL_MAP)
