"""Checkpoints of every released version load: they are scored as they were then, and their runs go on."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from release_checkpoint import ELSEWHERE, FIXTURES, STOPPED_AT, evaluating, training, write_scans

import clusterseg
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.train import train

VERSIONS = sorted(FIXTURES.glob("v*.ckpt"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scans(tmp_path_factory.mktemp("released") / "data")


def test_there_is_one_of_this_version() -> None:
    names = [path.stem for path in VERSIONS]
    assert f"v{clusterseg.__version__}" in names, "python tests/release_checkpoint.py writes it"


@pytest.mark.parametrize("checkpoint", VERSIONS, ids=lambda path: path.stem)
def test_it_is_scored_as_it_was(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    assert str(torch.load(checkpoint, weights_only=True)["config"]["data"]["root"]).startswith(ELSEWHERE)
    result, then = (
        evaluate(evaluating(checkpoint, data), tmp_path),
        json.loads(checkpoint.with_suffix(".json").read_text()),
    )
    assert result["points"] == then["points"] > 0
    assert result["miou"] == pytest.approx(then["miou"], abs=2e-3)
    assert result["accuracy"] == pytest.approx(then["accuracy"], abs=2e-3)


@pytest.mark.parametrize("checkpoint", VERSIONS, ids=lambda path: path.stem)
def test_its_run_goes_on(checkpoint: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    last = tmp_path / "run/checkpoints/last.ckpt"
    last.parent.mkdir(parents=True)
    shutil.copy(checkpoint, last)
    with caplog.at_level(logging.WARNING, "clusterseg"):
        metrics = train(training(data, "ckpt=last"), tmp_path / "run")
    assert "other settings" not in caplog.text
    assert 0 <= metrics["val/miou"] <= 1
    then, now = (torch.load(path, weights_only=True) for path in (checkpoint, last))
    assert (then["global_step"], now["global_step"]) == (STOPPED_AT, 4)
    assert int(now["state_dict"]["cluster.step"]) == 4
    assert then["state_dict"].keys() == now["state_dict"].keys()
