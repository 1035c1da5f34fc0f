"""Runs that are resumed elsewhere, or otherwise than they began: in a moved folder, in other batches."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, open_dict
from tiny_run import configure, tiny_settings, write_tiny

from clusterseg.commands.train import train

SIX = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("moved"), {"00": SIX, "08": 1})


def training(folder: Path, *overrides: str) -> DictConfig:
    config = configure(
        "train",
        *tiny_settings(folder),
        "optim=adamw",
        "trainer=cpu",
        "trainer.log_every_n_steps=1",
        "callbacks.dashboard=null",
        "callbacks.pictures=null",
        *overrides,
    )
    with open_dict(config):
        monitor = {"monitor": "val/accuracy", "mode": "max", "save_top_k": 2, "filename": "top-{step}"}
        config.callbacks.top = {"_target_": "pytorch_lightning.callbacks.ModelCheckpoint", **monitor}
    return config


def states(checkpoint: Path) -> dict[str, Any]:
    loaded = torch.load(checkpoint, weights_only=True)["callbacks"]
    return {name: state for name, state in loaded.items() if name.startswith("ModelCheckpoint")}


@pytest.fixture(scope="module")
def begun(folder: Path) -> Path:
    train(training(folder, "trainer.max_epochs=2", "data.batch_size=3"), folder / "begun")
    return folder / "begun"


@pytest.mark.parametrize("how", ["moved", "copied", "from its checkpoint"])
def test_a_run_that_goes_on_elsewhere_keeps_its_best(folder: Path, begun: Path, tmp_path: Path, how: str) -> None:
    """With a learning rate of zero and other weights nothing better comes; every `ModelCheckpoint` knows its files."""
    shutil.copytree(begun, tmp_path / "old")
    ckpt, run = "last", tmp_path / "new"
    if how == "moved":
        (tmp_path / "old").rename(run)
    elif how == "copied":
        shutil.copytree(tmp_path / "old", run)
    else:
        ckpt = str(tmp_path / "old/checkpoints/last.ckpt")
    before = states(begun / "checkpoints" / "last.ckpt")
    top = {Path(path).name for state in before.values() for path in state["best_k_models"]}
    rate = ("optim.optimizer.lr=0.0", "optim.optimizer.weight_decay=0.0")
    train(training(folder, "trainer.max_epochs=3", "data.batch_size=3", f"ckpt={ckpt}", *rate), run)
    after = states(run / "checkpoints" / "last.ckpt")
    assert before.keys() == after.keys() and len(after) == 2
    for name, state in after.items():
        assert float(state["best_model_score"]) >= float(before[name]["best_model_score"])
        assert all(Path(path).parent == run / "checkpoints" and Path(path).is_file() for path in state["best_k_models"])
    assert len(top) == 3
    if how != "moved":
        assert {path.name for path in (tmp_path / "old" / "checkpoints").iterdir()} >= top, "the old run's files stay"


def test_a_best_that_its_run_has_replaced_is_not_taken_along(folder: Path, begun: Path, tmp_path: Path) -> None:
    shutil.copytree(begun, tmp_path / "old")
    best = tmp_path / "old/checkpoints/best.ckpt"
    content = torch.load(best, weights_only=True)
    for state in content["callbacks"].values():
        if "best_k_models" in state:
            state["best_k_models"] = {path: score + 0.1 for path, score in state["best_k_models"].items()}
    torch.save(content, best)
    ckpt = f"ckpt={tmp_path / 'old/checkpoints/last.ckpt'}"
    train(training(folder, "trainer.max_epochs=3", "data.batch_size=3", ckpt), tmp_path / "new")
    assert torch.load(tmp_path / "new/checkpoints/best.ckpt", weights_only=True)["global_step"] == 6, "of its own epoch"


@pytest.mark.parametrize(("first", "then", "steps"), [(2, 1, 1 + 4), (1, 2, 1 + 3), (3, 2, 1 + 2), (1, 4, 1 + 2)])
def test_an_epoch_goes_on_in_batches_of_another_size(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, first: int, then: int, steps: int
) -> None:
    """One step in batches of the first size; then each of the other scans once, and the validation."""
    train(training(folder, "trainer.max_epochs=-1", "trainer.max_steps=1", f"data.batch_size={first}"), tmp_path)
    with caplog.at_level("INFO", "clusterseg"):
        train(training(folder, "trainer.max_epochs=1", f"data.batch_size={then}", "ckpt=last"), tmp_path)
    assert f"goes on after the {first} scans" in caplog.text
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) + 1 for row in rows if row["train/loss"]] == list(range(1, steps + 1))
    assert [int(row["step"]) + 1 for row in rows if row["val/miou"]] == [steps]
    assert torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)["global_step"] == steps
