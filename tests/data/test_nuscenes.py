"""nuScenes: the layout on a made data set, the files on the real samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_sets import counts, write, write_nuscenes

from clusterseg.config.signatures import mistakes
from clusterseg.data.label_map import IGNORE_INDEX, load_label_map
from clusterseg.data.readers import tables
from clusterseg.data.readers.nuscenes import NuscenesDataModule, NuscenesReader
from clusterseg.data.readers.nuscenes_scenes import scenes_of
from clusterseg.errors import UserError

# Raw id -> class of the challenge, 0 ignored, written out on its own as the reference.
LEARNING_MAP = {
    0: 0, 1: 0, 2: 7, 3: 7, 4: 7, 5: 0, 6: 7, 7: 0, 8: 0, 9: 1, 10: 0, 11: 0, 12: 8, 13: 0, 14: 2, 15: 3, 16: 3, 17: 4,
    18: 5, 19: 0, 20: 0, 21: 6, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 29: 0, 30: 16, 31: 0,
}  # fmt: skip
MINI = {"scene-0916": 1, "scene-0061": 3, "scene-0103": 2, "scene-1100": 1}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    write_nuscenes(tmp_path, MINI)
    return tmp_path


def test_the_map_is_that_of_the_challenge() -> None:
    expected = [IGNORE_INDEX if c == 0 else c - 1 for c in LEARNING_MAP.values()]
    label_map = load_label_map("nuscenes")
    np.testing.assert_array_equal(label_map.to_train(np.array(list(LEARNING_MAP))), expected)
    assert (label_map.raw_to_train >= 0).sum() == 32


def test_the_official_splits_are_whole_and_apart() -> None:
    sizes = {split: len(scenes_of(split)) for split in ("train", "val", "test", "mini_train", "mini_val")}
    assert sizes == {"train": 700, "val": 150, "test": 150, "mini_train": 8, "mini_val": 2}
    assert len(scenes_of("train") | scenes_of("val") | scenes_of("test")) == 1000
    assert scenes_of("mini_train") | scenes_of("mini_val") <= scenes_of("train") | scenes_of("val")


def test_made_set_against_an_independent_reading(made: Path) -> None:
    module = NuscenesDataModule(made, "v1.0-mini", num_workers=0)
    reader = module.reader
    train, val = reader.scans("train"), reader.scans("val")
    assert [scan_id[:10] for scan_id in train] == ["scene-0061"] * 3 + ["scene-1100"]
    assert [scan_id[:10] for scan_id in val] == ["scene-0103"] * 2 + ["scene-0916"]
    assert sorted([*train, *val]) == sorted(reader.scans("all"))
    names = {row["token"]: row["filename"] for row in json.loads((made / "v1.0-mini/sample_data.json").read_text())}
    total: dict[int, int] = {}
    for scan_id in train:
        token = scan_id.split("/")[1]
        rows = np.fromfile(made / names[token], "<f4").reshape(-1, 5)
        ids = np.fromfile(made / f"lidarseg/v1.0-mini/{token}_lidarseg.bin", "u1")
        scan = reader.read(scan_id)
        np.testing.assert_array_equal(scan.points[:, :3], rows[:, :3])
        np.testing.assert_allclose(scan.points[:, 3], rows[:, 3] / 255, rtol=1e-6)
        assert scan.points[:, 3].min() >= 0 and scan.points[:, 3].max() <= 1
        np.testing.assert_array_equal(scan.labels, ids)
        for raw, count in counts(ids).items():
            total[LEARNING_MAP[raw]] = total.get(LEARNING_MAP[raw], 0) + count
    targets = np.concatenate([module.dataset("train")[i].point_targets for i in range(4)])
    assert {(t + 1) % (IGNORE_INDEX + 1): n for t, n in counts(targets).items()} == total


def test_the_test_set_has_tables_of_its_own_and_no_labels(made: Path) -> None:
    reader = NuscenesReader(made, "v1.0-mini")
    assert reader.has_split("val") and not reader.has_split("test")
    write_nuscenes(made, {"scene-0077": 2}, "v1.0-test", labelled=False)
    assert reader.has_split("test")
    (first, _) = reader.scans("test")
    assert first.startswith("scene-0077/") and reader.read(first).labels is None


def test_real_sweeps(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/others/nuscenes_lidarseg_tiny40"
    (sweep,) = folder.glob("samples/LIDAR_TOP/*.bin")
    (labels,) = folder.glob("lidarseg/*/*.bin")
    token = labels.name.removesuffix("_lidarseg.bin")
    write_tables(tmp_path, token, sweep.relative_to(folder), labels.relative_to(folder))
    for part in ("samples", "lidarseg"):
        (tmp_path / part).symlink_to(folder / part)
    reader = NuscenesReader(tmp_path)
    assert reader.scans("train") == [f"scene-0001/{token}"]
    scan = reader.read(f"scene-0001/{token}")
    assert scan.labels is not None
    assert counts(scan.labels) == {17: 2, 24: 15, 27: 1, 28: 12, 30: 1, 31: 9}
    raw = np.frombuffer(sweep.read_bytes(), "<f4").reshape(40, 5)
    np.testing.assert_array_equal(scan.points[:, :3], raw[:, :3])
    np.testing.assert_array_equal(scan.points[:, 3], raw[:, 3] / np.float32(255))
    (whole,) = (shared / "data/others/nuscenes").glob("samples/LIDAR_TOP/*.bin")
    points = reader.read_points(whole)
    assert points.shape == (34_688, 4) and 0.5 < points[:, 3].max() <= 1


def write_tables(root: Path, token: str, sweep: Path, labels: Path) -> None:
    row = {"token": token, "sample_token": "a", "timestamp": 1, "is_key_frame": True, "filename": str(sweep)}
    written = {
        "scene": [{"token": "s", "name": "scene-0001"}],
        "sample": [{"token": "a", "scene_token": "s"}],
        "sample_data": [row],
        "lidarseg": [{"sample_data_token": token, "filename": str(labels)}],
    }
    (root / "v1.0-trainval").mkdir()
    for name, table in written.items():
        (root / f"v1.0-trainval/{name}.json").write_text(json.dumps(table))


def test_rows_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = [{"token": f"{i:05d}", "text": "é, ]} {[" * (i % 5)} for i in range(50)]
    path = tmp_path / "table.json"
    for indent in (None, 0, 2):
        path.write_text(json.dumps(table, indent=indent, ensure_ascii=False), encoding="utf-8")
        for block in (3, 17, 1 << 20):
            monkeypatch.setattr(tables, "_BLOCK", block)
            assert list(tables.rows(path, "token")) == table


@pytest.mark.parametrize("content", ["", "{}", '[{"token": 1}', '[{"token": 1}, {"to', "[nonsense]"])
def test_a_table_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "scene.json").write_text(content)
    with pytest.raises(UserError, match=r"scene\.json: (expected a table|is no whole JSON table)"):
        list(tables.rows(tmp_path / "scene.json", "token"))


def test_a_table_that_names_a_missing_file(made: Path) -> None:
    gone = next(made.glob("samples/LIDAR_TOP/scene-0061*1001*"))
    gone.unlink()
    with pytest.raises(UserError, match=rf"{gone.name}: no such file, and the data set lists it"):
        NuscenesDataModule(made, "v1.0-mini", num_workers=0).setup("fit")
    assert len(NuscenesReader(made, "v1.0-mini", missing="skip").scans("train")) == 3


def test_labels_of_another_version(made: Path) -> None:
    reader = NuscenesReader(made, "v1.0-mini")
    token = reader.scans("train")[0].split("/")[1]
    write(made / f"lidarseg/v1.0-mini/{token}_lidarseg.bin", np.zeros(59, "u1"))
    with pytest.raises(UserError, match=r"_lidarseg\.bin: 59 labels, but its scan .* 60 points; .*same version"):
        NuscenesDataModule(made, "v1.0-mini", num_workers=0).setup("fit")


def test_tables_of_other_versions(made: Path) -> None:
    (made / "v1.0-mini/scene.json").write_text('[{"token": "other", "name": "scene-0061"}]')
    with pytest.raises(UserError, match=r"sample_data\.json refers to .*tables are of different versions"):
        NuscenesReader(made, "v1.0-mini").scans("train")
    (made / "v1.0-mini/scene.json").write_text('[{"name": "scene-0061"}]')
    with pytest.raises(UserError, match=r"scene\.json: a row has no token"):
        NuscenesReader(made, "v1.0-mini").scans("train")
    (made / "v1.0-mini/lidarseg.json").unlink()
    with pytest.raises(UserError, match=r"(scene|lidarseg)\.json"):
        NuscenesReader(made, "v1.0-mini").scans("train")


def test_wrong_settings() -> None:
    config = {"_target_": "clusterseg.data.readers.nuscenes.NuscenesDataModule", "root": "x", "version": "v1.0"}
    (line,) = mistakes(config, "data")
    assert "data.version=v1.0: expected" in line and "v1.0-trainval" in line
    with pytest.raises(UserError, match=r"data\.root=.*nowhere: no such folder"):
        NuscenesReader("nowhere").scans("train")
