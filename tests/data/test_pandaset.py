"""PandaSet: the layout on a made data set, the files on the real sample; and pickles that ask for more."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_sets import counts, write_frame, write_pandaset

from clusterseg.data.readers.frames import read_frame
from clusterseg.data.readers.pandaset import SPLITS, PandasetDataModule, PandasetReader, rotation
from clusterseg.errors import UserError

SEQUENCES = {"train": [2], "val": ["003"]}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    write_pandaset(tmp_path, {"002": 3, "003": 1, "001": 1, "149": 1})
    return tmp_path


def to_ego(point: np.ndarray, pose: dict[str, Any]) -> np.ndarray:
    """A point of the world in the frame of the car, by the product of quaternions: conj(q) p q."""

    def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.array([a[0] * b[0] - a[1:] @ b[1:], *(a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:]))])

    q = np.array([pose["heading"][k] for k in "wxyz"])
    q /= np.linalg.norm(q)
    away = point - [pose["position"][k] for k in "xyz"]
    return product(product(q * [1, -1, -1, -1], np.array([0, *away])), q)[1:]


def test_made_set_against_an_independent_reading(made: Path) -> None:
    reader = PandasetReader(made, origin=[0, 1.0, 2.0], sequences=SEQUENCES)
    assert reader.scans("train") == ["002/00", "002/01", "002/02"]
    assert reader.scans("val") == ["003/00"]
    poses = json.loads((made / "002/lidar/poses.json").read_text())
    for i, scan_id in enumerate(["002/00", "002/01", "002/02"]):
        frame = read_frame(made / f"002/lidar/{i:02d}.pkl.gz")
        scan = reader.read(scan_id)
        assert scan.points.shape == (40, 4) and scan.points.dtype == np.float32
        for row in range(0, 40, 7):
            world = np.array([frame[axis][row] for axis in "xyz"])
            expected = to_ego(world, poses[i]) - [0, 1, 2]
            np.testing.assert_allclose(scan.points[row, :3], expected, atol=1e-4)
            assert scan.points[row, 3] == np.float32(frame["i"][row] / 255)
        labels = read_frame(made / f"002/annotations/semseg/{i:02d}.pkl.gz")["class"]
        np.testing.assert_array_equal(scan.labels, labels[:40])


def test_the_other_sensor_and_both(made: Path) -> None:
    for sensor, rows in (("pandargt", slice(40, 60)), ("both", slice(0, 60))):
        reader = PandasetReader(made, sensor, sequences=SEQUENCES)
        scan = reader.read(reader.scans("train")[0])
        labels = read_frame(made / "002/annotations/semseg/00.pkl.gz")["class"]
        np.testing.assert_array_equal(scan.labels, labels[rows])
        assert len(scan.points) == len(labels[rows])


def test_the_default_split_takes_what_is_there_and_labelled(made: Path) -> None:
    assert {split: len(names) for split, names in SPLITS.items()} == {"train": 61, "val": 20, "test": 22}
    assert len({name for names in SPLITS.values() for name in names}) == 103
    reader = PandasetReader(made)
    assert reader.scans("train") == ["002/00", "002/01", "002/02"]
    assert reader.scans("val") == ["003/00"]
    assert reader.scans("test") == ["001/00", "149/00"]
    for file in (made / "003/annotations/semseg").iterdir():
        file.unlink()
    (made / "003/annotations/semseg").rmdir()
    with pytest.raises(UserError, match=r"no sequence of the split val there; present: 001, 002, 003, 149"):
        reader.scans("val")
    with pytest.raises(UserError, match=r"003/annotations/semseg/00\.pkl\.gz: no labels"):
        PandasetReader(made, sequences={"val": [3]}).scans("val")
    with pytest.raises(UserError, match=r"data\.sequences\.train: sequence 007 is missing; present: 001"):
        PandasetReader(made, sequences={"train": [7]}).scans("train")


def test_fewer_poses_than_scans(made: Path) -> None:
    path = made / "002/lidar/poses.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:2]))
    with pytest.raises(UserError, match=r"poses\.json: 2 poses, but there is a scan 02\.pkl\.gz"):
        PandasetDataModule(made, sequences=SEQUENCES, num_workers=0).setup("fit")
    path.write_text('[{"position": {"x": 0}}]')
    with pytest.raises(UserError, match=r"poses\.json: expected a list of poses with position"):
        PandasetReader(made, sequences=SEQUENCES).scans("train")


def test_labels_of_another_version(made: Path) -> None:
    write_frame(made / "002/annotations/semseg/00.pkl.gz", {"class": np.arange(59)})
    reader = PandasetReader(made, sequences=SEQUENCES)
    with pytest.raises(UserError, match=r"59 labels, but its scan .* 60 points; .*same version"):
        reader.read(reader.scans("train")[0])
    write_frame(made / "002/annotations/semseg/00.pkl.gz", {"klass": np.arange(60)})
    with pytest.raises(UserError, match=r"has no column class; found klass"):
        reader.read("002/00")


class Call:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize(
    "planted",
    [Call(os.system, "touch planted"), Call(eval, "open('planted', 'w')"), Call(open, "planted", "w"), [1, 2], 3],
)
def test_a_pickle_runs_nothing(planted: Any, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "00.pkl.gz"
    path.write_bytes(gzip.compress(pickle.dumps(planted, protocol)))
    with pytest.raises(UserError, match=r"00\.pkl\.gz: holds no data frame .*nothing of it was run"):
        read_frame(path)
    assert not (tmp_path / "planted").exists()


def test_an_allowed_name_opens_no_way_round(tmp_path: Path) -> None:
    path = tmp_path / "00.pkl.gz"
    for name in ("DataFrame.__init__", "DataFrame.__init__.__globals__", "_Frame"):
        text = [name.encode(), b"pandas.core.frame"]
        named = b"".join(b"\x8c" + bytes([len(each)]) + each for each in reversed(text))
        path.write_bytes(gzip.compress(b"\x80\x04" + named + b"\x93."))
        with pytest.raises(UserError, match=r"it asks for pandas\.core\.frame"):
            read_frame(path)


def test_damaged_frames_are_one_message(tmp_path: Path) -> None:
    path = tmp_path / "00.pkl.gz"
    write_frame(path, {"x": np.arange(50.0), "class": np.arange(50)})
    assert read_frame(path)["class"].tolist() == list(range(50))
    content, rng = gzip.decompress(path.read_bytes()), np.random.default_rng(0)
    path.write_bytes(gzip.compress(content)[:-20])
    with pytest.raises(UserError, match="holds no data frame"):
        read_frame(path)
    for _ in range(300):
        broken = bytearray(content[: rng.integers(1, len(content) + 1)])
        for place in rng.integers(0, len(broken), 3):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(gzip.compress(bytes(broken), 1))
        try:
            assert all(values.ndim == 1 for values in read_frame(path).values())
        except UserError as error:
            assert "holds no data frame" in str(error)


def test_rotation_of_a_quarter_turn() -> None:
    half = np.sqrt(0.5)
    np.testing.assert_allclose(rotation(np.array([half, 0, 0, half])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(np.array([2.0, 0, 0, 0])), np.eye(3))


def test_real_sweeps(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/others/pandaset"
    (tmp_path / "002").symlink_to(folder / "002")
    module = PandasetDataModule(tmp_path, sequences={"train": [2]}, num_workers=0)
    reader = module.reader
    assert reader.scans("train") == ["002/00", "002/40"]
    poses = json.loads((folder / "002/lidar/poses.json").read_text())
    for scan_id, frame in (("002/00", 0), ("002/40", 40)):
        scan = reader.read(scan_id)
        with np.load(folder / f"002_{frame:02d}.npz") as arrays:  # read by pandas
            kept = arrays["d"] == 0
            labels, intensity = arrays["class"][kept], arrays["intensity"][kept]
            world = np.stack([arrays[axis] for axis in "xyz"], 1)[kept].astype(np.float64)
        np.testing.assert_array_equal(scan.labels, labels)
        np.testing.assert_array_equal(scan.points[:, 3], (intensity / 255).astype(np.float32))
        for row in range(0, len(world), 9999):
            expected = to_ego(world[row], poses[frame]) - [0, 1.45, 2]
            np.testing.assert_allclose(scan.points[row, :3], expected, atol=1e-4)
        road = scan.points[(labels == 7) & (np.hypot(*scan.points[:, :2].T) < 15), 2]
        assert -2.6 < np.median(road) < -2.2
    both = PandasetReader(tmp_path, "both", sequences={"train": [2]})
    found = counts(both.read(both.scans("train")[0]).labels)  # type: ignore[arg-type]
    assert sum(found.values()) == 166_768
    assert (found[7], found[13], found[41], found[30]) == (34_211, 29_754, 45_585, 10)
    assert module.dataset("train")[0].point_targets.max() <= 255
