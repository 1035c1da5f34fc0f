"""Recordings of ROS: any layout of fields gives the points and the labels of the same points in a .npy file."""

from __future__ import annotations

import importlib.util
import json
import logging
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings import FORMATS, by_struct, cloud, columns_of, read, store, write, write_into
from tiny import scan
from tiny_run import configure

from clusterseg.commands.predict import predict
from clusterseg.data.clouds import Layout, read_cloud
from clusterseg.data.clouds.bag import list_messages
from clusterseg.data.clouds.pointcloud2 import columns, packed
from clusterseg.data.label_map import load_label_map
from clusterseg.errors import UserError
from clusterseg.predict.found import find_clouds

LAYOUTS = {
    "plain": {},
    "padded": {"padding": 3},
    "unsorted": {"reverse": True, "padding": 1},
    "big-endian": {"order": ">"},
    "organised": {"rows": 4, "row_padding": 5, "padding": 2, "order": ">"},
}


@pytest.fixture(autouse=True)
def rosbags() -> None:
    pytest.importorskip("rosbags", reason="recordings of ROS need rosbags: pip install 'clusterseg[rosbags]'")


def points(seed: int, count: int = 400) -> np.ndarray:
    """Points (count, 4) of a small street; some without a return."""
    rng = np.random.default_rng(seed)
    found = scan(rng, count // 4)[0]
    return rng.permutation(found)[:count]


def recording(path: Path, kind: str, layout: str = "plain", clouds: int = 3) -> tuple[Path, list[np.ndarray]]:
    """A recording with a topic of points, and its points."""
    held = [points(seed) for seed in range(clouds)]
    messages = [(10 + i // 2, cloud(kind, columns_of(each), **LAYOUTS[layout])) for i, each in enumerate(held)]
    return write(path.with_suffix(".bag" if kind == "ros1" else ""), kind, {"/points": messages}), held


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_and_type_is_read_as_number_by_number(layout: str) -> None:
    rng = np.random.default_rng(0)
    kinds = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")
    fields = {f"field_{kind}": rng.integers(0, 100, 24).astype(kind) for kind in kinds}
    message = cloud("ros1", fields, **LAYOUTS[layout])
    expected = by_struct(message)
    found = columns(message)
    assert set(found) == set(expected) == set(fields)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])
        assert values.dtype == fields[name].dtype


def test_packed_fields_are_read_back() -> None:
    held = columns_of(points(0))
    fields, step, data = packed(held)
    kind = store("ros1").types["sensor_msgs/msg/PointField"]
    message = replace(
        cloud("ros1", held), fields=[kind(*f, 1) for f in fields], point_step=step, row_step=step * 400, data=data
    )
    for name, values in by_struct(message).items():
        np.testing.assert_array_equal(values, held[name])


@pytest.mark.parametrize("kind", FORMATS)
def test_messages_are_read_in_any_order(tmp_path: Path, kind: str) -> None:
    path, held = recording(tmp_path / "drive", kind, "padded", clouds=7)
    paths = list_messages(path, None)
    for index in (0, 3, 2, 2, 6, 0, 5, 4, 1, 6):
        found = read_cloud(paths[index])
        np.testing.assert_array_equal(found.xyz, held[index][:, :3])
        np.testing.assert_array_equal(found.remission, held[index][:, 3])
        np.testing.assert_array_equal(found.fields["ring"], np.arange(400) % 16)


@pytest.mark.parametrize(("kind", "layout"), [("ros1", "padded"), ("db3", "big-endian"), ("mcap", "organised")])
def test_labels_are_those_of_the_same_points_in_npy(tiny_run: Path, tmp_path: Path, kind: str, layout: str) -> None:
    path, held = recording(tmp_path / "drive", kind, layout)
    (tmp_path / "npy").mkdir()
    for index, each in enumerate(held):
        np.save(tmp_path / "npy" / f"{index:06d}.npy", each)
    checkpoint = f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}"
    common = (checkpoint, "trainer=cpu", "remission=1")
    predict(configure("predict", *common, f"input={tmp_path / 'npy'}", f"output={tmp_path / 'a'}"), tmp_path)
    config = configure("predict", *common, f"input={path}", f"output={tmp_path / 'b'}", "bag=true")
    assert predict(config, tmp_path) == {"files": 3, "predicted": 3, "before": 0}
    expected = [np.fromfile(tmp_path / "a" / f"{index:06d}.label", "<u4") for index in range(3)]
    assert len(np.unique(expected)) > 1, "the network tells classes apart"
    for index, labels in enumerate(expected):
        np.testing.assert_array_equal(np.fromfile(tmp_path / "b/drive" / f"{index:06d}.label", "<u4"), labels)

    labelled = tmp_path / "b" / ("drive_labelled.bag" if kind == "ros1" else "drive_labelled")
    ((topic, messages),) = read(labelled).items()
    assert topic == "/points/labelled"
    assert [time for time, _ in messages] == [10, 10, 11]
    table = load_label_map("semantickitti")
    for index, (_, message) in enumerate(messages):
        fields = by_struct(message)
        assert list(fields) == ["x", "y", "z", "intensity", "label", "rgb"]
        np.testing.assert_array_equal(np.stack([fields[name] for name in ("x", "y", "z", "intensity")], 1), held[index])
        np.testing.assert_array_equal(fields["label"], expected[index])
        colour = fields["rgb"].astype("<f4").view("<u4")[:, None] >> [16, 8, 0] & 255
        np.testing.assert_array_equal(colour, table.colours[table.to_train(expected[index])])
        assert (message.header.frame_id, message.height) == ("lidar", LAYOUTS[layout].get("rows", 1))

    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "b").rglob("*") if file.is_file()}
    assert predict(config, tmp_path)["predicted"] == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before, "nothing is written again"
    assert find_clouds(tmp_path, tmp_path / "b") == sorted([path, *sorted((tmp_path / "npy").iterdir())])


def test_points_without_a_return_are_unlabeled(
    tiny_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = points(0)
    held[::5, :3] = 0
    held[1::5, 0] = np.nan
    write(tmp_path / "drive.bag", "ros1", {"/points": [(1, cloud("ros1", columns_of(held)))]})
    checkpoint = f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}"
    source = f"input={tmp_path / 'drive.bag'}"
    predict(configure("predict", checkpoint, source, f"output={tmp_path / 'out'}", "trainer=cpu", "bag=true"), tmp_path)
    assert "160 points have no finite position" in caplog.text
    labels = np.fromfile(tmp_path / "out/drive/000000.label", "<u4")
    assert not labels[::5].any() and not labels[1::5].any() and (labels[2::5] > 0).all()
    ((_, message),) = read(tmp_path / "out/drive_labelled.bag")["/points/labelled"]
    np.testing.assert_array_equal(by_struct(message)["x"], held[:, 0])
    assert not message.is_dense


@pytest.mark.parametrize("kind", FORMATS)
def test_topic(tmp_path: Path, kind: str) -> None:
    one, other = points(1), points(2)
    text = store(kind).types["std_msgs/msg/String"]
    topics = {
        "/front": [(1, cloud(kind, columns_of(one)))],
        "/rear": [(1, cloud(kind, columns_of(other)))] * 2,
        "/said": [(1, text(data="hello"))],
    }
    path = write(tmp_path / ("drive.bag" if kind == "ros1" else "drive"), kind, topics)
    with pytest.raises(UserError, match=r"/front \(1 messages\), /rear \(2 messages\); choose one by topic=NAME"):
        list_messages(path, None)
    with pytest.raises(UserError, match=r"topic=/said: no such topic .*/front"):
        list_messages(path, "/said")
    assert len(list_messages(path, "/rear")) == 2
    np.testing.assert_array_equal(read_cloud(path / "000000.message", Layout(topic="/front")).xyz, one[:, :3])
    np.testing.assert_array_equal(read_cloud(path / "000001.message", Layout(topic="/rear")).xyz, other[:, :3])


def test_a_storage_file_without_its_folder(tmp_path: Path) -> None:
    path, held = recording(tmp_path / "drive", "db3")
    alone = shutil.copy(path / "drive.db3", tmp_path / "alone.db3")
    np.testing.assert_array_equal(read_cloud(list_messages(alone, None)[2]).xyz, held[2][:, :3])
    assert find_clouds(path.parent, tmp_path / "out") == [alone, path]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_wrong_with_a_recording_is_one_message(tmp_path: Path, kind: str) -> None:
    said = [(1, store(kind).types["std_msgs/msg/String"](data="hello"))]
    suffix = ".bag" if kind == "ros1" else ""
    path = write(tmp_path / f"text{suffix}", kind, {"/said": said})
    with pytest.raises(UserError, match=r"holds no sensor_msgs/PointCloud2; found /said \(std_msgs/msg/String\)"):
        read_cloud(path)
    path, _ = recording(tmp_path / "drive", kind)
    file = path if kind == "ros1" else next(path.glob(f"*.{kind}"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match=r"drive.*(cannot be read|ends after).*cut short or damaged"):
        for message in list_messages(path, None):
            read_cloud(message)
    file.write_bytes(b"")
    with pytest.raises(UserError, match=r"drive.*cannot be read"):
        read_cloud(path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fields": "type"}, r"000000\.message: field x has the type 11, .*expected 1 to 8"),
        ({"fields": "offset"}, r"field x ends at byte 40 of points of 26 bytes"),
        ({"fields": "none"}, r"has no field x, y, z; found none"),
        ({"data": np.zeros(5, np.uint8)}, r"has 5 bytes of points, expected 10400 for 1 x 400 points"),
        ({"width": 0}, r"holds no point"),
    ],
)
def test_what_is_wrong_with_a_message_is_one_message(tmp_path: Path, change: dict, expected: str) -> None:
    message = cloud("ros1", columns_of(points(0)))
    if "fields" in change:
        first = message.fields[0]
        wrong = {"type": [replace(first, datatype=11)], "offset": [replace(first, offset=36)], "none": []}
        change = {"fields": [*wrong[change["fields"]], *(message.fields[1:] if change["fields"] != "none" else [])]}
    write(tmp_path / "drive.bag", "ros1", {"/points": [(1, replace(message, **change))]})
    with pytest.raises(UserError, match=expected):
        read_cloud(list_messages(tmp_path / "drive.bag", None)[0])


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = recording(tmp_path / "other", "ros1", clouds=1)
    known = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "rosbags" else known(name))
    with pytest.raises(UserError, match=r"needs rosbags; pip install 'clusterseg\[rosbags\]'"):
        read_cloud(path)


def test_a_broken_recording_among_others_is_left_out(
    tiny_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "in").mkdir()
    recording(tmp_path / "in/good", "ros1", clouds=1)
    (tmp_path / "in/bad.bag").write_bytes(b"#ROSBAG V2.0\n")
    checkpoint = f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}"
    config = configure("predict", checkpoint, f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", "trainer=cpu")
    with pytest.raises(UserError, match=r"1 of 2 clouds are left out.*\n.*bad\.bag: cannot be read"):
        predict(config, tmp_path)
    assert (tmp_path / "out/good/000000.label").stat().st_size == 1600
    assert json.loads((tmp_path / "out/predict.json").read_text())["topic"] is None


@pytest.mark.parametrize("compression", ["lz4", "bz2", "file", "message", "storage"])
def test_compressed_recordings(tmp_path: Path, compression: str) -> None:
    from rosbags import rosbag1, rosbag2

    kind = "ros1" if compression in ("lz4", "bz2") else "mcap" if compression == "storage" else "db3"
    held = [points(seed) for seed in range(3)]
    if kind == "ros1":
        bag = rosbag1.Writer(tmp_path / "drive.bag")
        bag.set_compression(rosbag1.Writer.CompressionFormat[compression.upper()])
    else:
        plugin = rosbag2.StoragePlugin.MCAP if kind == "mcap" else rosbag2.StoragePlugin.SQLITE3
        bag = rosbag2.Writer(tmp_path / "drive", version=8, storage_plugin=plugin)
        bag.set_compression(rosbag2.CompressionMode[compression.upper()], rosbag2.CompressionFormat.ZSTD)
    write_into(bag, kind, {"/points": [(i, cloud(kind, columns_of(each))) for i, each in enumerate(held)]})
    (path,) = find_clouds(tmp_path, tmp_path / "out")
    for message, each in zip(list_messages(path, None), held, strict=True):
        np.testing.assert_array_equal(read_cloud(message).xyz, each[:, :3])


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_anywhere_is_one_message(tmp_path: Path, kind: str) -> None:
    path, _ = recording(tmp_path / "drive", kind, clouds=2)
    file = path if kind == "ros1" else next(path.glob(f"*.{kind}"))
    whole, draw = file.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(30):
        damaged = bytearray(whole)
        for _ in range(3):
            at = draw.randrange(len(damaged))
            damaged[at : at + 4] = draw.choice((b"\xff" * 4, b"\0" * 4, b"\1", b"longer than before"))
        file.write_bytes(damaged[: draw.choice((len(damaged), draw.randrange(len(damaged))))])
        try:
            for message in list_messages(path, None):
                read_cloud(message)
        except UserError:
            refused += 1
    assert 10 < refused <= 30


def test_one_broken_message_is_left_out_of_labels_and_recording(tiny_run: Path, tmp_path: Path) -> None:
    held = [points(seed) for seed in range(3)]
    messages = [cloud("db3", columns_of(each)) for each in held]
    messages[1] = replace(messages[1], data=messages[1].data[:100])
    write(tmp_path / "drive", "db3", {"/points": list(enumerate(messages))})
    checkpoint = f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}"
    source, output = f"input={tmp_path / 'drive'}", f"output={tmp_path / 'out'}"
    with pytest.raises(UserError, match=r"1 of 3 clouds are left out.*\n.*000001\.message: has 100 bytes of points"):
        predict(configure("predict", checkpoint, source, output, "trainer=cpu", "bag=true"), tmp_path)
    assert sorted(path.name for path in (tmp_path / "out/drive").iterdir()) == ["000000.label", "000002.label"]
    (labelled,) = read(tmp_path / "out/drive_labelled").values()
    assert [time for time, _ in labelled] == [0, 2]
    for path in (tmp_path / "out").rglob("*"):
        assert not path.name.endswith(".tmp")


@pytest.mark.parametrize("name", ["rellis_sub.bag", "rellis_sub_db3", "rellis_sub_mcap"])
def test_real_clouds(shared: Path, name: str) -> None:
    path = shared / "data/others/ros_derived" / name
    if not path.exists():
        pytest.skip(f"no {path}")
    with np.load(path.parent / "expected.npz") as file:
        expected = {key: file[key].ravel() for key in file.files}
    topic = "/os1_cloud_node/points"
    found = read_cloud(list_messages(path, topic)[0], Layout(topic=topic))
    xyz = np.stack([expected[axis] for axis in "xyz"], 1)
    hit = (xyz != 0).any(1)
    assert 0 < hit.sum() < len(hit)
    np.testing.assert_array_equal(found.xyz[hit], xyz[hit])
    assert np.isnan(found.xyz[~hit]).all()
    np.testing.assert_array_equal(found.remission, expected["intensity"])
    for key in ("t", "reflectivity", "ring", "noise", "range"):
        np.testing.assert_array_equal(found.fields[key], expected[key])


def test_real_recordings_without_and_with_odd_clouds(shared: Path) -> None:
    others = shared / "data/others"
    with pytest.raises(UserError, match=r"holds no sensor_msgs/PointCloud2; found .*velodyne_msgs/msg/VelodyneScan"):
        list_messages(next((others / "ros_nebula_packets").glob("*.db3")), None)
    cows = list_messages(others / "ros1_point_cloud_io/some_cows.bag", None)
    assert len(cows) == 4
    cloud = read_cloud(cows[3])
    assert cloud.xyz.shape == (2903, 3) and np.isfinite(cloud.xyz).all()
    for name in ("test_bag_mcap", "test_bag_sqlite3"):
        held = list_messages(others / "ros2_rosbags_rs" / name, None)
        assert [len(read_cloud(path).xyz) for path in held] == [3, 3]
