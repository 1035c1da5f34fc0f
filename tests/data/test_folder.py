"""A folder of clouds of any format, with labels in files or fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sets import cloud, counts, write

from clusterseg.data.readers.folder import FolderDataModule, FolderReader
from clusterseg.data.readers.label_files import read_label_file
from clusterseg.errors import UserError

MAP = {"name": "two", "ignored": [0], "classes": {"ground": {"id": 2}, "thing": {"id": 5, "also": [7]}}}


def labels_of(seed: int, points: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([0, 2, 5, 7], points)


def write_pcd(path: Path, points: np.ndarray) -> None:
    rows = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in points)
    head = "VERSION .7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{head}WIDTH {len(points)}\nHEIGHT 1\nPOINTS {len(points)}\nDATA ascii\n{rows}\n")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """train: a .bin, a .npy and a .pcd; val: a .bin in a folder below."""
    for number, name in enumerate(["train/a.bin", "train/b.npy", "train/c.pcd", "val/deep/d.bin"]):
        points, path = cloud(number, 300 + number), tmp_path / name
        write(path.with_suffix(".label"), (labels_of(number, len(points)) | 3 << 16).astype("<u4"))
        if path.suffix == ".npy":
            np.save(path, points)
        elif path.suffix == ".pcd":
            write_pcd(path, points)
        else:
            write(path, points)
    (tmp_path / "train/.hidden.bin").write_bytes(b"x")
    return tmp_path


def module(root: Path, **settings: Any) -> FolderDataModule:
    return FolderDataModule(root, MAP, num_workers=0, **{"origin": "sensor", "remission": 1.0, **settings})


def test_a_split_that_was_asked_for_is_there(made: Path) -> None:
    assert module(made, splits={"val": "vall/**/*"}).reader.has_split("val"), "train must not go on without validation"
    assert not module(made, splits={"test": None}).reader.has_split("test")


def test_every_format_with_label_files(made: Path) -> None:
    data = module(made)
    assert data.reader.scans("train") == ["train/a", "train/b", "train/c"]
    assert data.reader.scans("val") == ["val/deep/d"] and not data.reader.has_split("test")
    for number, scan_id in enumerate(data.dataset("train").scan_ids):
        scan = data.reader.read(scan_id)
        np.testing.assert_allclose(scan.points, cloud(number, 300 + number), atol=1e-6)
        assert scan.labels is not None
        np.testing.assert_array_equal(scan.labels & 0xFFFF, labels_of(number, 300 + number))
        targets = data.dataset("train")[number].point_targets
        raw = counts(labels_of(number, 300 + number))
        assert counts(targets) == {255: raw[0], 0: raw[2], 1: raw[5] + raw[7]}


def test_labels_as_arrays_and_tables(made: Path) -> None:
    (made / "ids/train").mkdir(parents=True)
    (made / "ids/val/deep").mkdir(parents=True)
    expected = {}
    for number, name in enumerate(["train/a", "train/b", "train/c", "val/deep/d"]):
        expected[name] = labels_of(number, 300 + number)
        np.save(made / f"ids/{name}.npy", expected[name].astype(np.uint8))
        (made / f"ids/{name}.csv").write_text(
            "index,label\n" + "".join(f"{i},{v}\n" for i, v in enumerate(expected[name]))
        )
    for ending in ("npy", "csv"):
        reader = module(made, labels=f"ids/{{folder}}/{{stem}}.{ending}").reader
        for split in ("train", "val"):
            for scan_id in reader.scans(split):
                np.testing.assert_array_equal(reader.read(scan_id).labels, expected[scan_id])


def test_labels_in_a_field_and_further_features(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    for number in range(2):
        points = cloud(number, 50)
        rows = np.c_[points, np.arange(50) % 8, labels_of(number, 50)].astype(np.float32)
        rows[:, 3] *= 255
        np.save(tmp_path / f"train/{number}.npy", rows)
    settings = {
        "columns": ["x", "y", "z", "intensity", "ring", "kind"],
        "features": ["x", "y", "z", "remission", "ring"],
    }
    data = module(tmp_path, label_field="kind", **{"remission": "auto", **settings})
    assert data.inputs.features == ("x", "y", "z", "remission", "ring")
    for number, scan_id in enumerate(data.reader.scans("train")):
        scan = data.reader.read(scan_id)
        np.testing.assert_allclose(scan.points[:, :4], cloud(number, 50), atol=1e-6)
        np.testing.assert_array_equal(scan.points[:, 4], np.arange(50) % 8)
        np.testing.assert_array_equal(scan.labels, labels_of(number, 50))
    with pytest.raises(UserError, match=r"0\.npy: has no field klass \(data\.label_field\); found ring, kind"):
        other = module(tmp_path, label_field="klass", **settings).reader
        other.read(other.scans("train")[0])
    with pytest.raises(UserError, match=r"0\.npy: field i.* holds other values than whole numbers"):
        other = module(tmp_path, label_field="intense", columns=["x", "y", "z", "intense", "ring", "kind"]).reader
        other.read(other.scans("train")[0])


def test_splits_by_patterns_and_lists(made: Path) -> None:
    (made / "val.txt").write_text("train/c.pcd\n\nval/**/*\n")
    reader = module(made, splits={"train": ["train/[ab]*"], "val": "val.txt"}).reader
    assert reader.scans("train") == ["train/a", "train/b"]
    assert reader.scans("val") == ["train/c", "val/deep/d"]
    assert reader.scans("all") == ["train/a", "train/b", "train/c", "val/deep/d"]


def test_what_is_wrong_is_one_message(made: Path) -> None:
    for settings, message in [
        ({"labels": "labels/{name}.label"}, r"data\.labels=labels/\{name\}\.label: expected a path with \{stem\}"),
        ({"labels": "{stem}.txt"}, r"ends with one of \.label, \.npy, \.csv"),
        ({"columns": ["x", "y"]}, r"columns=\[x,y\]: expected x, y, z"),
        ({"format": "velodyne"}, r"format=velodyne: no such format"),
        ({"origin": "middle"}, r"origin=middle: expected auto, sensor"),
        ({"splits": {"train": "gone.txt"}}, r"gone\.txt: data\.splits\.train: cannot be read"),
        ({"splits": {"train": "train/gone.bin"}}, r"gone\.bin: data\.splits\.train lists it, and there is no such"),
        ({"splits": {"train": "train/*.las"}}, r"no cloud matches train/\*\.las \(data\.splits\.train\)"),
        ({"labels": "ids/{stem}.npy"}, r"ids/a\.npy: no labels of .*a\.bin, which training and validation need"),
    ]:
        with pytest.raises(UserError, match=message):
            module(made, **settings).setup("fit")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"data\.label_map is not set; give the path of a YAML file"):
        FolderDataModule(made)
    write(made / "train/a.label", np.zeros(299, "<u4"))
    data = module(made)
    data.setup("fit")
    with pytest.raises(UserError, match=r"a\.label: 299 labels, but its scan .* 300 points"):
        _ = data.dataset("train")[0]
    np.save(made / "train/a.npy", cloud(0, 10))
    with pytest.raises(UserError, match=r"two clouds of one name"):
        module(made).setup("fit")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("1\n2\n3\n", [1, 2, 3]),
        ("label\n1\n2\n\n", [1, 2]),
        ("x,Label,y\n0.5,7,1\n0.5,8,1\n", [7, 8]),
        ("a,b\n1,2\n", r"2 columns, none of them named label"),
        ("1\n2.5\n", r"line 2 holds no whole number: '2\.5'"),
        ("label\n-1\n", r"the id -1 is negative"),
        ("x,label\n1\n", r"line 2 holds no whole number"),
    ],
)
def test_csv(tmp_path: Path, content: str, expected: Any) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content)
    if isinstance(expected, list):
        assert read_label_file(path).tolist() == expected
    else:
        with pytest.raises(UserError, match=rf"a\.csv: .*{expected}"):
            read_label_file(path)


def test_real_clouds(shared: Path, tmp_path: Path) -> None:
    others = shared / "data/others"
    (tmp_path / "train").mkdir()
    (tmp_path / "train/labelled.pcd").symlink_to(others / "pcd_hitachi_ascii_labelled/pointcloud_labeling.pcd")
    reader = FolderReader(tmp_path, label_field="ignore", origin="sensor")
    scan = reader.read(reader.scans("train")[0])
    assert scan.points.shape == (18_524, 4) and scan.labels is not None
    ids = {0: 1787, 2: 4553, 3: 2931, 5: 177, 7: 1963, 8: 603, 9: 61, 10: 3104, 12: 300, 13: 118, 15: 243, 17: 2530}
    assert counts(scan.labels) == ids | {21: 154}
    pytest.importorskip("laspy", reason="reading .laz needs the extra las")
    (tmp_path / "train/tile.laz").symlink_to(others / "las/ign/test_data_77055_627755_LA93_IGN69_extra_dims.laz")
    tiles = FolderReader(tmp_path, {"train": "train/*.laz"}, label_field="classification")
    scan = tiles.read(tiles.scans("train")[0])
    assert scan.labels is not None and len(scan.points) == 72_770
    assert counts(scan.labels) == {1: 2264, 2: 39468, 3: 682, 4: 729, 5: 5152, 6: 24362, 64: 113}
    assert np.abs(scan.points[:, :2]).max() < 100  # around the middle of the tile, not in the country's frame
    assert scan.points[:, 3].min() >= 0 and scan.points[:, 3].max() <= 1
    (tmp_path / "train/waymo.bin").symlink_to(others / "waymo_kitti_format/0000000.bin")
    waymo = FolderReader(tmp_path, {"test": "train/*.bin"}, format="waymo", remission=1.0)
    assert waymo.read(waymo.scans("test")[0]).points.shape == (800, 4)


def test_ply(tmp_path: Path) -> None:
    points, kinds = cloud(0, 30), np.arange(30, dtype=np.uint8) % 3
    (tmp_path / "train").mkdir()
    rows = np.empty(30, [(axis, "<f4") for axis in "xyz"] + [("scalar_Label", "u1")])
    for i, axis in enumerate("xyz"):
        rows[axis] = points[:, i]
    rows["scalar_Label"] = kinds
    fields = "".join(f"property float {axis}\n" for axis in "xyz") + "property uchar scalar_Label\n"
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex 30\n{fields}end_header\n"
    (tmp_path / "train/a.ply").write_bytes(head.encode() + rows.tobytes())
    reader = FolderReader(tmp_path, label_field="scalar_label", origin="sensor")
    scan = reader.read(reader.scans("train")[0])
    np.testing.assert_array_equal(scan.points[:, :3], points[:, :3])
    np.testing.assert_array_equal(scan.labels, kinds)
    np.testing.assert_array_equal(scan.points[:, 3], 0)  # a file without remission
