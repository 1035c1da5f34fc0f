"""A stranger's data set, by the code and the commands of docs/custom.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from custom_folder import PAGE, commands, run, write_folder

import clusterseg


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after every command of the page's first part."""
    folder = write_folder(tmp_path_factory.mktemp("stranger"))
    for line in commands("Data"):
        said = run(line, folder)
        assert "TPU" not in said and "Tip:" not in said, "Lightning's own notes"
    return folder


def test_it_is_checked_trained_resumed_and_scored(folder: Path) -> None:
    checkpoint = torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 2 or checkpoint["global_step"] == 8, "resumed for a second epoch"
    assert checkpoint["inputs"]["features"] == ["x", "y", "z", "remission", "ring"]
    assert list(checkpoint["inputs"]["label_map"]["classes"]) == ["floor", "wall", "thing"]
    assert checkpoint["state_dict"]["backbone.stem.0.kernel"].shape[1] == 5
    result = json.loads((folder / "run/evaluation/metrics.json").read_text())
    labels = [np.load(folder / f"rooms/labels/{name}.npy") for name in "45"]
    assert result["scans"] == 2
    assert result["points"] == sum(int((each != 0).sum()) for each in labels)
    assert set(result["iou"]) == {"floor", "wall", "thing"}


def test_predictions_are_in_the_data_sets_own_ids(folder: Path) -> None:
    files = sorted((folder / "labels").glob("*.label"))
    assert [path.stem for path in files] == ["0", "1", "2", "3", "4", "5"]
    labels = np.fromfile(files[0], "<u4")
    assert len(labels) == 1500
    assert set(labels) <= {1, 2, 3}


def test_the_python_api_gives_the_same_labels(folder: Path) -> None:
    model = clusterseg.load(folder / "run/checkpoints/last.ckpt", device="cpu")
    assert model.features == ("x", "y", "z", "remission", "ring")
    points = np.load(folder / "rooms/points/3.npy").astype(np.float32)
    points[:, 3] /= 255
    np.testing.assert_array_equal(model.predict(points).labels, np.fromfile(folder / "labels/3.label", "<u4"))


def test_the_program_of_the_page_runs(folder: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(code) == 1
    subprocess.run([sys.executable, "-c", code[0]], cwd=folder, check=True, capture_output=True)


def test_a_reader_that_is_not_trusted_is_not_run(folder: Path) -> None:
    line = "clusterseg evaluate ckpt=run/checkpoints/last.ckpt trainer=cpu hydra.run.dir=refused"
    with pytest.raises(AssertionError, match=r"my_data\.Rooms.*trust=\[my_data\]"):
        run(line, folder)


@pytest.mark.parametrize(
    ("line", "broken", "expected"),
    [
        ("scan.points[:, :4]", "points[:, :4]", r"returned points \(1500, 4\) of float32.*x, y, z, remission, ring"),
        ("labels", "np.zeros(3, np.uint16)", r"labels of shape \(3,\); expected one for each of 1500 points"),
        ("none", "None", r"no labels, which training and validation need"),
        ("unknown", "np.full(len(points), 9)", r"unknown label ids \[9\].*data\.label_map=rooms"),
        ("raises", "{}['human']", r"Rooms raised KeyError: 'human'; mend the file or the reader"),
    ],
)
def test_what_a_reader_gets_wrong_is_one_message(tmp_path: Path, line: str, broken: str, expected: str) -> None:
    folder = write_folder(tmp_path)
    text = (folder / "my_data.py").read_text()
    old = 'Scan(points, np.load(self.root / "labels" / f"{scan_id}.npy"))'
    assert old in text
    points, labels = (broken, "None") if line.startswith("scan") else ("points", broken)
    (folder / "my_data.py").write_text(text.replace(old, f"Scan({points}, {labels})"))
    with pytest.raises(AssertionError, match=expected) as caught:
        run(commands("Data")[1], folder)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("data.reader.root=nowhere", r"data: Rooms raised FileNotFoundError: .*nowhere/val\.txt"),
        ("data.reader.root=empty", r"Rooms lists no scan of the split train under empty; check the folder"),
        ("data.root=rooms", r"data\.root: no such key \(did you mean data\.reader\.root\?\)"),
        ("model.cluster.wieght=1", r"model\.cluster\.wieght: no such key \(did you mean model\.cluster\.weight\?\)"),
    ],
)
def test_a_wrong_setting_of_ones_own_files_is_one_message(folder: Path, setting: str, expected: str) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "empty/val.txt").touch()
    line = f"{commands('Data')[1]} model=spvnas_cluster model/cluster=compact {setting} hydra.run.dir=wrong"
    with pytest.raises(AssertionError, match=expected) as caught:
        run(line, folder)
    assert "Traceback" not in str(caught.value)
