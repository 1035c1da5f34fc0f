"""SemanticPOSS and Waymo: the layout of SemanticKITTI with other splits, scales and ids; all on made data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_layouts import write_sequences
from made_sets import counts, write

from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.readers.semanticposs import SemanticPossDataModule
from clusterseg.data.readers.waymo import WaymoDataModule
from clusterseg.errors import UserError

# Raw id -> class of the 13, 0 ignored (learning_map of CENet's semantic-poss.yaml), written out as the reference.
POSS = {
    0: 0, 1: 0, 4: 1, 5: 1, 6: 2, 7: 3, 8: 4, 9: 5, 10: 6, 11: 6, 12: 6, 13: 7, 14: 8, 15: 9, 16: 10, 17: 11, 18: 0,
    19: 0, 20: 0, 21: 12, 22: 13,
}  # fmt: skip
POSS_NAMES = (
    "people", "rider", "car", "trunk", "plants", "traffic-sign", "pole", "trashcan", "building", "cone-stone", "fence",
    "bike", "ground",
)  # fmt: skip


def total(module: ScanDataModule, split: str) -> dict[int, int]:
    dataset = module.dataset(split)
    return counts(np.concatenate([dataset[i].point_targets for i in range(len(dataset))]))


def test_semanticposs(tmp_path: Path) -> None:
    write_sequences(tmp_path / "sequences", [f"{i:02d}" for i in range(6)], list(POSS), 255)
    (tmp_path / "sequences/00/tag").mkdir()
    module = SemanticPossDataModule(tmp_path, num_workers=0)
    reader = module.reader
    assert {scan_id[:2] for scan_id in reader.scans("train")} == {"00", "01", "03", "04", "05"}
    assert reader.scans("val") == ["02/000000", "02/000001"]
    assert len(reader.scans("all")) == 12 and not reader.has_split("test")
    rows = np.fromfile(tmp_path / "sequences/02/velodyne/000001.bin", "<f4").reshape(-1, 4)
    raw = np.fromfile(tmp_path / "sequences/02/labels/000001.label", "<u4")
    scan = reader.read("02/000001")
    np.testing.assert_array_equal(scan.points[:, :3], rows[:, :3])
    np.testing.assert_array_equal(scan.points[:, 3], rows[:, 3] / np.float32(255))
    np.testing.assert_array_equal(scan.labels, raw)
    expected: dict[int, int] = {}
    for frame in (0, 1):
        for each in np.fromfile(tmp_path / f"sequences/02/labels/00000{frame}.label", "<u4"):
            target = (POSS[int(each) % 65536] - 1) % 256
            expected[target] = expected.get(target, 0) + 1
    assert total(module, "val") == expected
    assert module.class_names == POSS_NAMES
    other = SemanticPossDataModule(tmp_path, {"train": [0], "val": [3], "test": [2]}, num_workers=0).reader
    assert other.scans("val") == ["03/000000", "03/000001"] and other.has_split("test")


def test_waymo(tmp_path: Path) -> None:
    write_sequences(tmp_path / "sequences", ["0000", "0001", "1000"], list(range(23)), 27, width=7)
    module = WaymoDataModule(tmp_path, num_workers=0)
    reader = module.reader
    assert [scan_id[:4] for scan_id in reader.scans("train")] == ["0000", "0000", "0001", "0001"]
    assert reader.scans("val") == ["1000/0000000", "1000/0000001"]
    assert not reader.has_split("test")
    write_sequences(tmp_path / "other", ["0797", "0798", "0999"], [1, 2], 1)
    whole = WaymoDataModule(tmp_path / "other", num_workers=0).reader  # of the tool that numbers them through
    assert {scan_id[:4] for scan_id in whole.scans("train")} == {"0797"}
    assert {scan_id[:4] for scan_id in whole.scans("val")} == {"0798", "0999"}
    rows = np.fromfile(tmp_path / "sequences/1000/velodyne/0000000.bin", "<f4").reshape(-1, 4)
    scan = reader.read("1000/0000000")
    np.testing.assert_array_equal(scan.points[:, :3], rows[:, :3])
    np.testing.assert_allclose(scan.points[:, 3], np.tanh(rows[:, 3].astype(np.float64)), rtol=1e-5)
    assert scan.points[:, 3].max() <= 1 < rows[:, 3].max()
    expected: dict[int, int] = {}
    for frame in (0, 1):
        for each in np.fromfile(tmp_path / f"sequences/1000/labels/000000{frame}.label", "<u4"):
            target = (int(each) % 65536 - 1) % 256
            expected[target] = expected.get(target, 0) + 1
    assert total(module, "val") == expected


def test_what_is_wrong_is_one_message(tmp_path: Path) -> None:
    write_sequences(tmp_path, ["00", "02"], list(POSS), 255)
    with pytest.raises(UserError, match=r"sequences 01, 03, 04, 05 are missing; present: 00, 02"):
        SemanticPossDataModule(tmp_path, num_workers=0).setup("fit")
    write(tmp_path / "00/labels/000001.label", np.zeros(49, "<u4"))
    with pytest.raises(UserError, match=r"000001\.label: .* 49 labels \(uint32\), but its scan has 51 points"):
        SemanticPossDataModule(tmp_path, {"train": [0]}, num_workers=0).setup("fit")
    (tmp_path / "00/labels/000001.label").unlink()
    with pytest.raises(UserError, match=r"000001\.label: no label for"):
        SemanticPossDataModule(tmp_path, {"train": [0]}, num_workers=0).setup("fit")
