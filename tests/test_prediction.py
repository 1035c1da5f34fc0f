"""predict.py: any input, the same labels; interrupted and gone on with."""

from __future__ import annotations

import json
import logging
import os
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
from clusterseg.commands.predict import predict
from clusterseg.data.scan import read_labels, read_scan
from clusterseg.errors import UserError

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
