from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clusterseg.data.dataset import ScanDataset
from clusterseg.data.label_map import IGNORE_INDEX, load_label_map
from clusterseg.data.scan import read_labels, read_scan, write_labels, write_scan
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.data.transforms import RandomRotation, RandomScale
from clusterseg.errors import UserError

MakeRoot = Callable[..., Path]
LABEL_MAP = load_label_map("semantickitti")


def dataset(root: Path, names: list[str], split: str = "train", **settings: Any) -> ScanDataset:
    return ScanDataset(SemanticKittiReader(root, sequences={split: names}), split, LABEL_MAP, **settings)


def training_set(root: Path, seed: int = 0) -> ScanDataset:
    return dataset(root, ["00"], max_voxels=200, transforms=(RandomRotation(), RandomScale()), seed=seed)


def test_evaluation_covers_every_point(make_root: MakeRoot) -> None:
    root = make_root({"00": 2})
    scans = dataset(root, ["00"], keep_points=True)
    sample = scans[1]
    points = read_scan(root / "00" / "velodyne" / "000001.bin")
    raw = read_labels(root / "00" / "labels" / "000001.label", len(points))
    assert len(scans) == 2 and sample.scan_id == "00/000001"
    np.testing.assert_array_equal(sample.points, points)
    np.testing.assert_array_equal(sample.point_targets, LABEL_MAP.to_train(raw))
    assert len(sample.inverse_map) == len(points)


def test_a_sample_depends_on_seed_epoch_and_index_alone(make_root: MakeRoot) -> None:
    root = make_root({"00": 3})
    scans = training_set(root)
    first = scans[(2, 1)]
    _ = scans[(0, 0)], scans[(2, 0)]
    np.testing.assert_array_equal(first.feats, training_set(root)[(2, 1)].feats)
    np.testing.assert_array_equal(first.feats, scans[(2, 1)].feats)
    np.testing.assert_array_equal(scans[1].feats, scans[(0, 1)].feats)
    for other in (scans[(3, 1)], scans[(2, 2)], training_set(root, seed=1)[(2, 1)]):
        assert not np.array_equal(first.feats, other.feats)
    assert len(first.coords) == 200


def test_without_labels(make_root: MakeRoot) -> None:
    root = make_root({"11": 1}, labels=False)
    sample = dataset(root, ["11"], "test")[0]
    assert (sample.point_targets == IGNORE_INDEX).all() and len(sample.point_targets) == 400
    with pytest.raises(UserError, match="no label for"):
        dataset(root, ["11"])


def test_unknown_label_names_the_file(make_root: MakeRoot) -> None:
    root = make_root({"00": 1})
    write_labels(root / "00" / "labels" / "000000.label", np.full(400, 9))
    with pytest.raises(UserError, match=r"000000\.label: unknown label ids \[9\].*data\.label_map"):
        _ = dataset(root, ["00"])[0]


def test_invalid_points_warn_once_for_each_file(make_root: MakeRoot, caplog: pytest.LogCaptureFixture) -> None:
    root = make_root({"00": 2})
    for frame in (0, 1):
        path = root / "00" / "velodyne" / f"00000{frame}.bin"
        points = read_scan(path)
        points[5, 1] = np.nan
        points[9] = np.inf
        write_scan(path, points)
    scans = training_set(root)
    with caplog.at_level(logging.WARNING, "clusterseg"):
        samples = [scans[(epoch, index)] for epoch in (0, 1) for index in (0, 1)]
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert (
        "000000.bin: 2 of 400 points have values that are NaN or infinite" in messages[0]
        and "000001.bin" in messages[1]
    )
    assert all(np.isfinite(sample.feats).all() for sample in samples)
    assert len(dataset(root, ["00"])[0].inverse_map) == 400


def test_no_finite_point_names_the_file(make_root: MakeRoot) -> None:
    root = make_root({"00": 1})
    write_scan(root / "00" / "velodyne" / "000000.bin", np.full((400, 4), np.inf, np.float32))
    with pytest.raises(UserError, match=r"000000\.bin: none of the 400 points is finite"):
        _ = dataset(root, ["00"])[0]


def test_a_file_that_shrinks_after_listing(make_root: MakeRoot) -> None:
    root = make_root({"00": 1})
    scans = dataset(root, ["00"])
    (root / "00" / "velodyne" / "000000.bin").write_bytes(bytes(160))
    with pytest.raises(UserError, match=r"000000\.label: .*400 labels .* 10 points"):
        _ = scans[0]


def test_real_scans(shared: Path) -> None:
    scans = dataset(shared / "data" / "semantickitti_mini", ["00", "08"], keep_points=True)
    for index in range(0, 10, 3):
        sample = scans[index]
        assert 110_000 < len(sample.inverse_map) < 130_000
        assert sample.points is not None
        away = np.abs(sample.feats[sample.inverse_map, :3] - sample.points[:, :3]).max()
        assert away <= 0.0501  # two points of one voxel
        assert (sample.point_targets != IGNORE_INDEX).mean() > 0.8
