"""predict.py: any input, the same labels; interrupted and gone on with."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from tiny_run import configure

from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.predict import predict, viewing
from clusterseg.data.clouds import Layout
from clusterseg.data.label_map import IGNORE_INDEX, load_label_map
from clusterseg.data.scan import read_labels, read_scan
from clusterseg.errors import UserError
from clusterseg.predict.prediction import PredictedScan
from clusterseg.predict.writer import without_unplaced

REPOSITORY = Path(__file__).parents[1]


def predicting(tiny_run: Path, source: Path, output: Path, *overrides: str) -> DictConfig:
    checkpoint = tiny_run / "run/checkpoints/best.ckpt"
    return configure("predict", f"ckpt={checkpoint}", f"input={source}", f"output={output}", "trainer=cpu", *overrides)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_labels_are_those_of_evaluation(tiny_run: Path, tmp_path: Path) -> None:
    predict(predicting(tiny_run, tiny_run / "data" / "08", tmp_path / "out"), tmp_path)
    overrides = ("split=test", "data.sequences={test:[08]}", "trainer=cpu", "pictures=0")
    evaluate(configure("evaluate", f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}", *overrides), tmp_path)
    written = sorted((tmp_path / "out/velodyne").glob("*.label"))
    assert [path.name for path in written] == ["000000.label", "000001.label", "000002.label"]
    for path in written:
        assert path.read_bytes() == (tmp_path / "submission/sequences/08/predictions" / path.name).read_bytes()


def test_remission_of_eight_bits_is_told_and_gives_the_same(
    tiny_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    points = read_scan(tiny_run / "data/08/velodyne/000000.bin")
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in/eight.npy", points * np.float32([1, 1, 1, 255]))
    points.tofile(tmp_path / "one.bin")
    predict(predicting(tiny_run, tmp_path / "in", tmp_path / "a"), tmp_path)
    assert "scale is 0..255" in caplog.text
    predict(predicting(tiny_run, tmp_path / "one.bin", tmp_path / "b", "ply=true"), tmp_path)
    same = read_labels(tmp_path / "a/eight.label", 4900) == read_labels(tmp_path / "b/one.label", 4900)
    assert same.mean() > 0.999, "x / 255 * 255 may differ in the last bit"
    assert (tmp_path / "b/one.ply").stat().st_size > 4900 * 27


def test_killed_in_the_middle_and_run_again(tiny_run: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    scan = (tiny_run / "data/08/velodyne/000000.bin").read_bytes()
    for i in range(60):
        (source / f"{i:03d}.bin").write_bytes(scan[16 * i :])
    predict(predicting(tiny_run, source, tmp_path / "whole"), tmp_path)
    expected = contents(tmp_path / "whole")
    assert len(expected) == 61

    output = tmp_path / "killed"
    command = [sys.executable, "predict.py", f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}", "trainer=cpu"]
    with subprocess.Popen(
        [*command, f"input={source}", f"output={output}"],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        while len(list(output.glob("*.label"))) < 5:
            assert process.poll() is None, "it ended before it could be killed"
            for path in output.glob("*.label"):
                assert path.stat().st_size == len(expected[path.name]), "never half-written"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    done = {name: content for name, content in contents(output).items() if not name.endswith(".tmp")}
    assert 5 < len(done) < 61
    assert all(expected[name] == content for name, content in done.items())
    (output / ".059.label.1.tmp").write_bytes(b"half")

    counts = predict(predicting(tiny_run, source, output), tmp_path)
    assert counts == {"files": 60, "predicted": 60 - (len(done) - 1), "before": len(done) - 1}
    assert contents(output) == expected


def test_another_checkpoint_does_not_mix_in(tiny_run: Path, tmp_path: Path) -> None:
    source = tiny_run / "data/08/velodyne/000000.bin"
    predict(predicting(tiny_run, source, tmp_path / "out"), tmp_path)
    with pytest.raises(UserError, match="other tta"):
        predict(predicting(tiny_run, source, tmp_path / "out", "tta=flip4"), tmp_path)
    assert json.loads((tmp_path / "out/predict.json").read_text())["tta"] == "none"


def clouds(folder: Path, count: int) -> np.ndarray:
    """Write some small clouds, and return the points of the first."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    points = np.c_[generator.uniform(-9, 9, (60, 2)), generator.normal(-1.73, 0.1, 60), generator.uniform(0, 1, 60)]
    for i in range(count):
        np.save(folder / f"{i}.npy", points.astype(np.float32))
    return points.astype(np.float32)


def test_one_broken_cloud_among_many_is_left_out(tiny_run: Path, tmp_path: Path) -> None:
    points = clouds(tmp_path / "in", 6)
    np.save(tmp_path / "in/0.npy", points[:0])
    (tmp_path / "in/3.npy").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"0\.npy: holds no point") as strict:
        predict(predicting(tiny_run, tmp_path / "in", tmp_path / "strict", "strict=true"), tmp_path)
    assert "left out" not in str(strict.value) and not (tmp_path / "strict").exists()
    with pytest.raises(UserError, match="2 of 6 clouds are left out") as raised:
        predict(predicting(tiny_run, tmp_path / "in", tmp_path / "out"), tmp_path)
    assert "0.npy: holds no point" in str(raised.value) and "3.npy: is no plain numpy array" in str(raised.value)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.label")) == [f"{i}.label" for i in (1, 2, 4, 5)]
    for i in (0, 3):
        np.save(tmp_path / f"in/{i}.npy", points)
    counts = predict(predicting(tiny_run, tmp_path / "in", tmp_path / "out"), tmp_path)
    assert counts == {"files": 6, "predicted": 2, "before": 4}


def test_a_refused_cloud_leaves_no_settings_behind(tiny_run: Path, tmp_path: Path) -> None:
    points = clouds(tmp_path / "in", 1)
    path = tmp_path / "in" / "0.bin"
    (tmp_path / "in/0.npy").unlink()
    np.c_[points * np.float32([1, 1, 1, 255]), np.arange(60) % 32].astype("<f4").tofile(path)
    with pytest.raises(UserError, match=r"0\.bin: .*format=nuscenes"):
        predict(predicting(tiny_run, path, tmp_path / "out"), tmp_path)
    predict(predicting(tiny_run, path, tmp_path / "out", "format=nuscenes"), tmp_path)
    assert len(read_labels(tmp_path / "out/0.label", 60)) == 60


def test_output_among_the_input(tiny_run: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    clouds(source, 3)
    before = contents(source)
    for folder, expected in ((source, 6), (source / "below", 6)):
        for _ in range(2):  # what was written is no input of the second call
            counts = predict(predicting(tiny_run, source, folder, "ply=true"), tmp_path)
            assert counts["files"] == 3
        assert len([*folder.glob("*.label"), *folder.glob("*.ply")]) == expected
    assert {name: contents(source)[name] for name in before} == before


def test_points_without_a_position_or_remission(
    tiny_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    points = clouds(tmp_path / "in", 1)
    filled = points.copy()
    points[[3, 9], [0, 2]] = [np.nan, np.inf]
    points[[20, 21], 3] = np.nan
    filled[[20, 21], 3] = np.median(np.delete(points[:, 3], [20, 21]))
    filled[3], filled[9] = filled[2], filled[8]
    np.save(tmp_path / "in/0.npy", points)
    np.save(tmp_path / "filled.npy", filled)
    predict(predicting(tiny_run, tmp_path / "in", tmp_path / "a", "ply=true"), tmp_path)
    assert "2 points have no finite position and got label 0 (unlabeled)" in caplog.text
    assert "2 points have no finite remission (NaN)" in caplog.text
    predict(predicting(tiny_run, tmp_path / "in", tmp_path / "b", "invalid=nearest"), tmp_path)
    predict(predicting(tiny_run, tmp_path / "filled.npy", tmp_path / "c"), tmp_path)
    unlabeled, nearest = read_labels(tmp_path / "a/0.label", 60), read_labels(tmp_path / "b/0.label", 60)
    np.testing.assert_array_equal(nearest, read_labels(tmp_path / "c/filled.label", 60))
    assert np.flatnonzero(unlabeled == 0).tolist() == [3, 9]
    np.testing.assert_array_equal(np.delete(unlabeled, [3, 9]), np.delete(nearest, [3, 9]))


def test_a_point_without_a_position_has_no_class_and_no_confidence() -> None:
    points = np.zeros((3, 4), np.float32)
    points[1, 2] = np.nan
    points[2, 3] = np.nan
    zeros = np.zeros(3, np.int64)
    blank = without_unplaced(PredictedScan("a", points, zeros, zeros + 4, np.full(3, 0.5, np.float32)))
    assert blank.predictions.tolist() == [4, IGNORE_INDEX, 4] and blank.confidence.tolist() == [0.5, 0, 0.5]


def test_all_remission_nan_is_like_none(tiny_run: Path, tmp_path: Path) -> None:
    points = clouds(tmp_path / "in", 1)
    np.save(tmp_path / "none.npy", points[:, :3])
    points[:, 3] = np.nan
    np.save(tmp_path / "in/0.npy", points)
    for source in (tmp_path / "in/0.npy", tmp_path / "none.npy"):
        predict(predicting(tiny_run, source, tmp_path / "out"), tmp_path)
    assert (tmp_path / "out/0.label").read_bytes() == (tmp_path / "out/none.label").read_bytes()


def test_two_ranks_write_every_cloud_and_tell_what_is_left_out(tiny_run: Path, tmp_path: Path) -> None:
    clouds(tmp_path / "in", 5)
    (tmp_path / "in/1.npy").write_bytes(b"nothing")
    (tmp_path / "in/2.npy").write_bytes(b"nothing")
    command = [sys.executable, "predict.py", f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}", "trainer=cpu"]
    settings = [f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", "trainer.devices=2"]
    done = subprocess.run([*command, *settings], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2 and "2 of 5 clouds are left out" in done.stderr, done.stderr
    assert sorted(contents(tmp_path / "out")) == ["0.label", "3.label", "4.label", "predict.json"]


def test_mistakes(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        predict(predicting(tiny_run, tmp_path / "nowhere", tmp_path / "out"), tmp_path)
    with pytest.raises(UserError, match="no point cloud in it"):
        predict(predicting(tiny_run, tmp_path, tmp_path / "out"), tmp_path)
    with pytest.raises(UserError, match="output is not set"):
        config = configure("predict", f"ckpt={tiny_run}", f"input={tmp_path}", "trainer=cpu")
        predict(config, tmp_path)
    for name in ("a.bin", "a.npy"):
        (tmp_path / name).write_bytes(bytes(32))
    with pytest.raises(UserError, match="would both be written"):
        predict(predicting(tiny_run, tmp_path, tmp_path / "out"), tmp_path)


def test_ensemble_needs_the_same_voxels(tiny_run: Path, tmp_path: Path) -> None:
    path = tiny_run / "run/checkpoints/best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["inputs"]["voxel_size"] = 0.1
    torch.save(checkpoint, tmp_path / "coarse.ckpt")
    config = configure("evaluate", f"ckpt=[{path},{tmp_path / 'coarse.ckpt'}]", "trainer=cpu")
    with pytest.raises(UserError, match=r"coarse\.ckpt was trained with .*voxel_size=0\.1"):
        evaluate(config, tmp_path)


def test_the_command_that_shows_the_labels_can_be_pasted() -> None:
    line = viewing(Layout(("x", "y", "z", "ring")), Path("a b.npy"), Path("out/a b"), load_label_map("nuscenes"))
    words = [
        "clusterseg",
        "viewer",
        "a b.npy",
        "predictions=out/a b.label",
        "output=viewer.html",
        "columns=[x,y,z,ring]",
    ]
    assert shlex.split(line) == [*words, "label_map=nuscenes"]
