"""KITTI-360 with labels for each scan, on a made data set in the layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_layouts import DRIVE, write_kitti360
from made_sets import counts, write

from clusterseg.data.readers.kitti360 import Kitti360DataModule, Kitti360Reader
from clusterseg.errors import UserError

# id -> trainId of kitti360Scripts without sky, 255 ignored, written out as the reference.
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 34: 2, 12: 3, 13: 4, 35: 4, 17: 5, 37: 5, 19: 6, 20: 7, 21: 8, 22: 9, 24: 10, 25: 11, 26: 12,
    27: 13, 28: 14, 31: 15, 32: 16, 33: 17,
}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Path:
    write_kitti360(tmp_path)
    return tmp_path


def test_made_set_against_an_independent_reading(made: Path) -> None:
    module = Kitti360DataModule(made, num_workers=0)
    reader = module.reader
    first, second = DRIVE.format(0), DRIVE.format(2)
    train = [f"{first}/{2:010d}", f"{first}/{3:010d}", f"{second}/{1:010d}", f"{second}/{2:010d}"]
    assert reader.scans("train") == train  # 1 has no labels, 4 is validated on
    assert reader.scans("val") == [f"{first}/{4:010d}", f"{first}/{5:010d}"]
    assert len(reader.scans("all")) == 8 and not reader.has_split("test")
    dataset, expected = module.dataset("val"), {}  # type: ignore[var-annotated]
    for frame in (4, 5):
        ids = np.fromfile(made / f"data_3d_labels/{first}/labels/{frame:010d}.bin", "<i2")
        for each in ids:
            target = TRAIN_IDS.get(int(each), 255)
            expected[target] = expected.get(target, 0) + 1
        scan = reader.read(f"{first}/{frame:010d}")
        rows = np.fromfile(made / f"data_3d_raw/{first}/velodyne_points/data/{frame:010d}.bin", "<f4")
        np.testing.assert_array_equal(scan.points, rows.reshape(-1, 4))
        np.testing.assert_array_equal(scan.labels, np.where(ids < 0, 0, ids))
    assert counts(np.concatenate([dataset[i].point_targets for i in range(2)])) == expected


def test_drives_and_other_label_files(made: Path) -> None:
    name = DRIVE.format(2)
    folder = made / "elsewhere" / name / "labels"
    write(folder / f"{1:010d}.label", np.full(41, 26 | 5 << 16, "<u4"))
    np.save(folder / f"{2:010d}.npy", np.full(42, 7, np.uint8))
    reader = Kitti360Reader(made, made / "elsewhere", {"train": [2], "test": [0]})
    assert reader.scans("train") == [f"{name}/{1:010d}", f"{name}/{2:010d}"]
    labels = [reader.read(scan_id).labels for scan_id in reader.scans("train")]
    np.testing.assert_array_equal(labels[0], np.full(41, 26 | 5 << 16))  # the instance stays above the id
    np.testing.assert_array_equal(labels[1], np.full(42, 7))
    assert len(reader.scans("test")) == 6
    np.save(folder / f"{2:010d}.npy", np.full(41, 7, np.uint8))
    with pytest.raises(UserError, match=r"0000000002\.npy: 41 labels, but its scan .* 42 points"):
        reader.read(f"{name}/{2:010d}")
    np.save(folder / f"{2:010d}.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(UserError, match=r"0000000002\.npy: is no plain numpy array"):
        reader.read(f"{name}/{2:010d}")


def test_what_is_wrong_is_one_message(made: Path) -> None:
    write(made / "data_3d_labels" / DRIVE.format(0) / f"labels/{2:010d}.bin", np.zeros(41, "<i2"))
    with pytest.raises(UserError, match=r"0000000002\.bin: 41 labels, but its scan .* 42 points; .*same version"):
        Kitti360DataModule(made, num_workers=0).setup("fit")
    with pytest.raises(UserError, match=r"8 scans at .*none with labels under .*nothing.*recoverLabels\.py"):
        Kitti360Reader(made, "nothing").scans("train")
    (made / "data_3d_semantics/train/2013_05_28_drive_train.txt").unlink()
    with pytest.raises(UserError, match=r"drive_train\.txt: no such list of windows; .*data\.drives\.train=\[0,2\]"):
        Kitti360Reader(made).scans("train")
