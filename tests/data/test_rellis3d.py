"""RELLIS-3D: the layout on a made data set, the files on the real frame."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from made_layouts import OS1, VELODYNE, write_rellis3d
from made_sets import counts, write

from clusterseg.data.readers.rellis3d import Rellis3dDataModule, Rellis3dReader
from clusterseg.errors import UserError

# Sparse ids -> class of the 14, 0 ignored (learning_map of the SalsaNext configuration), written out as the reference.
LEARNING_MAP = {
    0: 0, 1: 0, 3: 1, 4: 2, 5: 3, 6: 4, 7: 0, 8: 5, 9: 0, 10: 0, 12: 0, 15: 6, 17: 7, 18: 8, 19: 9, 23: 10, 27: 11,
    31: 12, 33: 13, 34: 14,
}  # fmt: skip


@pytest.fixture
def made(tmp_path: Path) -> Path:
    write_rellis3d(tmp_path, list(LEARNING_MAP))
    return tmp_path


def test_made_set_against_an_independent_reading(made: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = Rellis3dDataModule(made, num_workers=0, keep_points=True)
    reader = module.reader
    assert reader.scans("train") == ["00000/frame000000-158_0", "00003/frame000000-158_3"]
    assert reader.scans("val") == ["00000/frame000001-158_0", "00003/frame000001-158_3"]
    assert len(reader.scans("all")) == 6 and reader.has_split("test")
    rows = np.fromfile(made / "00003" / OS1[0] / "frame000001-158_3.bin", "<f4").reshape(-1, 4)
    raw = np.fromfile(made / "00003" / OS1[1] / "frame000001-158_3.label", "<u4")
    with caplog.at_level(logging.WARNING, "clusterseg"):
        sample = module.dataset("val")[1]
    assert not caplog.records  # rows without a return are usual here
    assert sample.points is not None and len(sample.point_targets) == 60
    for row in range(60):
        assert sample.point_targets[row] == (LEARNING_MAP[int(raw[row])] - 1) % 256
        if row % 3:
            np.testing.assert_array_equal(sample.points[row, :3], rows[row, :3])
            assert sample.points[row, 3] == pytest.approx(min(rows[row, 3] * 65.535, 1), rel=1e-5)
        else:
            assert np.isnan(sample.points[row, :3]).all()
    assert np.isfinite(sample.feats).all() and len(sample.coords) == 40
    assert np.abs(sample.feats[:, :3]).sum(1).min() > 0.1  # no voxel of the rows without a return


def test_the_velodyne_by_the_same_lists(made: Path) -> None:
    reader = Rellis3dReader(made, "velodyne")
    scan = reader.read(reader.scans("train")[0])
    rows = np.fromfile(made / "00000" / VELODYNE[0] / "frame000000-158_0.bin", "<f4").reshape(-1, 4)
    np.testing.assert_array_equal(scan.points[:, :3], rows[:, :3])
    np.testing.assert_allclose(scan.points[:, 3], rows[:, 3] / 255, rtol=1e-6)


def test_what_is_wrong_is_one_message(made: Path) -> None:
    label = made / "00000" / OS1[1] / "frame000000-158_0.label"
    write(label, np.zeros(59, "<u4"))
    with pytest.raises(UserError, match=r"frame000000-158_0\.label: 59 labels, .* 60 points; .*same version"):
        Rellis3dDataModule(made, num_workers=0).setup("fit")
    label.unlink()
    with pytest.raises(UserError, match=r"no labels of .*download the annotations of the lidar"):
        Rellis3dDataModule(made, num_workers=0).setup("fit")
    (made / "pt_train.lst").write_text("00000/os1_cloud_node_kitti_bin/gone.bin x\n")
    with pytest.raises(UserError, match=r"gone\.bin: no such file, and the data set lists it"):
        Rellis3dReader(made).scans("train")
    (made / "pt_train.lst").write_text("nonsense\n")
    with pytest.raises(UserError, match=r"a split file names 'nonsense'; expected 00000/os1"):
        Rellis3dReader(made).scans("train")
    (made / "pt_train.lst").unlink()
    with pytest.raises(UserError, match=r"pt_train\.lst: the list of the split train cannot be read"):
        Rellis3dReader(made).scans("train")


def test_real_frame(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/others/rellis3d"
    for kind, name in zip(OS1, ("000104.bin", "000104.label"), strict=True):
        (tmp_path / "00000" / kind).mkdir(parents=True)
        (tmp_path / "00000" / kind / name).symlink_to(folder / name)
    (tmp_path / "pt_val.lst").write_text(f"00000/{OS1[0]}/000104.bin 00000/{OS1[1]}/000104.label\n")
    reader = Rellis3dReader(tmp_path)
    (scan_id,) = reader.scans("val")
    scan = reader.read(scan_id)
    assert scan.labels is not None
    expected = {0: 68284, 3: 18040, 4: 17872, 17: 1310, 18: 595, 19: 3360, 23: 20242, 31: 1269, 33: 100}
    assert counts(scan.labels) == expected
    raw = np.frombuffer((folder / "000104.bin").read_bytes(), "<f4").reshape(131_072, 4)
    empty = (raw[:, :3] == 0).all(1)
    assert empty.sum() == 53_364 == np.isnan(scan.points[:, 0]).sum()
    np.testing.assert_array_equal(scan.points[~empty, :3], raw[~empty, :3])
    np.testing.assert_allclose(scan.points[:, 3], np.minimum(raw[:, 3].astype(np.float64) * 65.535, 1), rtol=1e-5)
    module = Rellis3dDataModule(tmp_path, num_workers=0)
    assert counts(module.dataset("val")[0].point_targets)[6] == 1310  # person
    velodyne = Rellis3dReader(tmp_path, "velodyne").read_points(folder / "vel000104.bin")
    assert velodyne.shape == (37_334, 4) and velodyne[:, 3].max() == pytest.approx(235 / 255)
