from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_scans import random_points
from made_scans import LABEL_MAP

from clusterseg.data.augment.read import read_labelled
from clusterseg.data.scan import write_labels, write_scan
from clusterseg.errors import UserError


def test_reads_points_targets_and_instances(tmp_path: Path) -> None:
    points = random_points(4)
    points[1, 2], points[2, 0] = np.inf, np.nan
    raw = np.array([10 | 3 << 16, 40, 252 | 65535 << 16, 0], np.uint32)
    write_scan(tmp_path / "a.bin", points)
    write_labels(tmp_path / "a.label", raw)
    scan = read_labelled(tmp_path / "a.bin", tmp_path / "a.label", LABEL_MAP)
    np.testing.assert_array_equal(scan.points, np.where(np.isfinite(points), points, np.nan))
    assert scan.targets.tolist() == [0, 8, 0, 255]
    assert scan.instances.tolist() == [3, 0, 65535, 0]


def test_an_unknown_label_names_the_file(tmp_path: Path) -> None:
    write_scan(tmp_path / "a.bin", random_points(1))
    write_labels(tmp_path / "a.label", np.array([7]))
    with pytest.raises(UserError, match=r"a\.label: unknown label ids \[7\]"):
        read_labelled(tmp_path / "a.bin", tmp_path / "a.label", LABEL_MAP)
