"""A learning rate that is stated for so many scans a step."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from tiny_run import configure, tiny_settings, write_tiny

from clusterseg.commands.train import train
from clusterseg.errors import UserError
from clusterseg.runs.checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("rates"), {"00": 7})


def run(folder: Path, run_dir: Path, *more: str) -> dict:
    """Train as said; returns the checkpoint."""
    given = [
        *tiny_settings(folder),
        "data.sequences.val=[]",
        "optim.optimizer.lr=0.24",
        "optim.scheduler._target_=clusterseg.optim.constant",
        "~optim.scheduler.warmup_fraction",
        "trainer=cpu",
        "trainer.max_steps=1",
        "logger=none",
        *more,
    ]
    train(configure("train", *given), run_dir)
    return read_checkpoint(run_dir / "checkpoints/last.ckpt")


def used(checkpoint: dict) -> float:
    return checkpoint["optimizer_states"][0]["param_groups"][0]["lr"]


@pytest.mark.parametrize("optim", ["sgd", "adamw"])
def test_it_is_scaled_by_the_scans_of_a_step(
    optim: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = (f"optim={optim}", "optim.lr_per=16", "data.batch_size=3", "trainer.accumulate_grad_batches=2")
    with caplog.at_level("INFO", "clusterseg"):
        checkpoint = run(folder, tmp_path, *given)
    assert used(checkpoint) == pytest.approx(0.24 * 3 * 2 / 16)
    assert checkpoint["config"]["optim"]["lr_used"] == pytest.approx(0.09)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["optim"]["lr_used"] == pytest.approx(0.09)
    told = [message for message in caplog.messages if "lr " in message]
    assert told == ["scans a step: 6 (3 x 1 ranks x 2 accumulated); lr 0.09: 0.24 for each 16 of them (optim.lr_per)"]


def test_without_it_nothing_is_scaled(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "clusterseg"):
        checkpoint = run(folder, tmp_path)
    assert used(checkpoint) == 0.24
    assert "lr_used" not in checkpoint["config"]["optim"]
    assert any("lr 0.24 as set, not scaled by it" in message for message in caplog.messages)


def test_a_resumed_run_keeps_its_rate_without_a_warning(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(folder, tmp_path, "optim.lr_per=16")
    again = run(folder, tmp_path, "optim.lr_per=16", "trainer.max_steps=2", "ckpt=last")
    assert used(again) == pytest.approx(0.24 * 2 / 16)
    assert not [record for record in caplog.records if record.name == "clusterseg" and record.levelname == "WARNING"]


def test_with_a_budget_of_voxels_it_is_the_mean(folder: Path, tmp_path: Path) -> None:
    checkpoint = run(folder, tmp_path, "optim.lr_per=16", "data.voxel_size=0.5", "data.batch_voxels=100000")
    assert used(checkpoint) == pytest.approx(0.24 * 7 / 16), "all seven scans fit into one batch"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["optim.lr_per=0"], r"optim\.lr_per=0: expected"),
        (["optim.lr_per=16", "~optim.optimizer.lr"], r"lr_per=16: there is no optim\.optimizer\.lr to scale"),
    ],
)
def test_mistakes(given: list[str], message: str, folder: Path, tmp_path: Path) -> None:
    where = (f"data.root={folder / 'data'}", "data.sequences={train: [0], val: []}", "trainer=cpu")
    control = f"model.backbone.control={folder / 'net.config'}"
    with pytest.raises(UserError, match=message):
        train(configure("train", *where, control, *given), tmp_path)
