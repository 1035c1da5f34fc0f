"""The doctor finds every planted fault of a data set of 200 scans, and nothing in a clean one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from planted import COUNTS, bin_of, label_map, label_of, plant, write_turned
from tiny_run import configure

from clusterseg.commands.check import check
from clusterseg.data.label_map import load_label_map
from clusterseg.data.voxelize import voxelize
from clusterseg.errors import UserError


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clean data set and its label map."""
    folder = tmp_path_factory.mktemp("clean")
    (folder / "merged.yaml").write_text(yaml.safe_dump(label_map(), sort_keys=False))
    return write_turned(folder)


def checking(root: Path, output: Path, *overrides: str) -> list[object]:
    settings = [
        f"data.root={root}",
        "data.sequences={train: [0], val: [8]}",
        f"output={output}",
        "workers=0",
        "pictures=1",
    ]
    return check(configure("check", *settings, f"data.label_map={root.parent / 'merged.yaml'}", *overrides), output)


def test_nothing_in_a_clean_data_set(clean: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checking(clean, tmp_path / "out", "workers=2", "data.voxel_size=0.2") == []
    assert "nothing wrong was found" in capsys.readouterr().out
    record = json.loads((tmp_path / "out/check.json").read_text())
    assert record["findings"] == [] and record["faults"] == record["warnings"] == 0
    assert {split: figures["scans"] for split, figures in record["splits"].items()} == {"train": 150, "val": 50}

    labels = load_label_map(str(clean.parent / "merged.yaml"))
    for split, sequence in (("train", "00"), ("val", "08")):
        points, voxels, classes = [], [], np.zeros(256, np.int64)
        for frame in range(COUNTS[sequence]):
            scan = np.fromfile(bin_of(clean, frame, sequence), "<f4").reshape(-1, 4)
            points.append(len(scan))
            voxels.append(len(np.unique(np.rint(scan[:, :3] / np.float32(0.2)), axis=0)))
            raw = np.fromfile(label_of(clean, frame, sequence), "<u4")
            classes += np.bincount(labels.to_train(raw), minlength=256)
        figures = record["splits"][split]
        assert figures["points"] == [min(points), np.median(points), max(points)]
        assert figures["voxels"] == [min(voxels), np.median(voxels), max(voxels)]
        assert [c[split] for c in record["classes"].values()] == [*classes[: labels.num_classes], classes[255]]


def test_every_planted_fault_and_nothing_else(clean: Path, tmp_path: Path) -> None:
    shutil.copytree(clean.parent, tmp_path / "set", ignore=shutil.ignore_patterns("streets"))
    root = tmp_path / "set" / "data"
    planted = plant(root)
    assert len(planted) >= 12
    with pytest.raises(UserError, match=r"faults .*: 9; all are in .*check\.html; the first: unreadable"):
        checking(root, tmp_path / "out")
    found = json.loads((tmp_path / "out/check.json").read_text())["findings"]
    seen = [(finding["severity"], finding["check"], tuple(finding["files"])) for finding in found]
    expected = set().union(*planted.values())
    assert set(seen) == expected
    assert len(seen) == len(expected)
    assert all(finding["got"] and finding["expected"] and finding["remedy"] for finding in found)
    page = (tmp_path / "out/check.html").read_text()
    assert all(finding["check"] in page for finding in found)


def test_warnings_do_not_change_the_exit_status(clean: Path, tmp_path: Path) -> None:
    shutil.copytree(clean.parent, tmp_path / "set", ignore=shutil.ignore_patterns("streets"))
    root = tmp_path / "set" / "data"
    bin_of(root, 40).unlink()
    label_of(root, 40).unlink()
    (finding,) = checking(root, tmp_path / "out")
    assert (finding.check, finding.files) == ("gap", ("00/39..41",))


def test_processes_and_none_give_the_same(clean: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        checking(clean, tmp_path / str(workers), f"workers={workers}", "data.max_scans=60")
    assert (tmp_path / "0/check.json").read_text() == (tmp_path / "2/check.json").read_text()


def test_the_suggested_cap_leaves_95_of_100_scans_whole(clean: Path, tmp_path: Path) -> None:
    checking(clean, tmp_path / "out", "splits=[train]")
    cap = json.loads((tmp_path / "out/check.json").read_text())["suggested"]["max_voxels"]
    scans = (np.fromfile(bin_of(clean, frame), "<f4").reshape(-1, 4) for frame in range(COUNTS["00"]))
    voxels = [len(voxelize(scan, 0.05)) for scan in scans]
    assert np.mean([count <= cap for count in voxels]) >= 0.95 > np.mean([count <= cap - 1000 for count in voxels])
