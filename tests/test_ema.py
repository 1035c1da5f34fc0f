"""A run with a moving average of its weights."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from tiny_run import configure, tiny_settings, write_tiny
from torch import Tensor

from clusterseg.build import training as runs
from clusterseg.callbacks import AveragedWeights
from clusterseg.callbacks.ema import decay_at
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.train import train
from clusterseg.errors import UserError

DECAY = 0.6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("ema"), {"00": 4, "08": 2})


def training(folder: Path, *overrides: str) -> DictConfig:
    """Three epochs of two steps each, validated after each."""
    return configure(
        "train",
        "callbacks=ema",
        f"callbacks.ema.decay={DECAY}",
        *tiny_settings(folder),
        "optim=adamw",
        "optim.optimizer.lr=0.02",
        "~optim.scheduler",
        "+optim.scheduler={_target_: clusterseg.optim.constant, _partial_: true}",
        "trainer=cpu",
        "trainer.max_epochs=3",
        "callbacks.dashboard=null",
        "callbacks.pictures=null",
        "callbacks.clusters=null",
        *overrides,
    )


def checkpoint(run: Path, name: str = "last") -> dict[str, Any]:
    found: dict[str, Any] = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
    return found


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    assert first.keys() == second.keys()
    return [name for name, value in first.items() if not torch.equal(value, second[name])]


class Notes(pl.Callback):
    """Keeps the weights after each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        self.steps.append({name: value.clone() for name, value in pl_module.state_dict().items()})


@pytest.fixture(scope="module")
def straight(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Notes]:
    run, notes, build = tmp_path_factory.mktemp("straight"), Notes(), runs.build_trainer

    def with_notes(*args: Any) -> pl.Trainer:
        trainer = build(*args)
        trainer.callbacks.insert(0, notes)
        return trainer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "build_trainer", with_notes)
        train(training(folder), run)
    return run, notes


def test_the_checkpoint_holds_the_average_and_the_current_weights(straight: tuple[Path, Notes]) -> None:
    run, notes = straight
    last, parameters = checkpoint(run), [name for name in notes.steps[0] if name.endswith(("weight", "kernel", "bias"))]
    assert len(notes.steps) == 6 and len(parameters) > 20
    assert not differing(last["current_model_state"], notes.steps[-1])
    for name, found in last["state_dict"].items():
        expected = notes.steps[0][name].double()
        for count, step in enumerate(notes.steps[1:], start=1):
            decay = min(DECAY, (1 + count) / (10 + count))
            expected = decay * expected + (1 - decay) * step[name].double()
        if name not in parameters:
            expected = notes.steps[-1][name].double()
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6, msg=name)
    assert differing(last["state_dict"], last["current_model_state"])


def test_it_is_the_average_that_is_validated(straight: tuple[Path, Notes], tmp_path: Path) -> None:
    run, _ = straight
    with open(run / "metrics.csv", newline="") as file:
        logged = [float(row["val/miou"]) for row in csv.DictReader(file) if row["val/miou"]]
    scored = configure("evaluate", f"ckpt={run / 'checkpoints/last.ckpt'}", "trainer=cpu", "pictures=0")
    assert evaluate(scored, tmp_path)["miou"] == pytest.approx(logged[-1], abs=1e-6)
    assert len(logged) == 3


# Within an epoch, and at the end of one; then the other steps.
@pytest.mark.parametrize("step", [3, 4, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 2, 5))])
def test_it_resumes_exactly(folder: Path, straight: tuple[Path, Notes], tmp_path: Path, step: int) -> None:
    train(training(folder, f"trainer.max_steps={step}"), tmp_path)
    train(training(folder, "ckpt=last"), tmp_path)
    ours, theirs = checkpoint(tmp_path), checkpoint(straight[0])
    for part in ("state_dict", "current_model_state", "averaging_state"):
        assert not differing(ours[part], theirs[part])


def test_it_leaves_the_training_as_it_is(folder: Path, straight: tuple[Path, Notes], tmp_path: Path) -> None:
    train(training(folder, "callbacks.ema=null"), tmp_path)
    plain = checkpoint(tmp_path)
    assert not differing(plain["state_dict"], checkpoint(straight[0])["current_model_state"])
    assert "averaging_state" not in plain, "off by default"


def test_resuming_with_and_without_it_are_told(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(training(folder, "trainer.max_epochs=1"), tmp_path)
    with pytest.warns(UserWarning, match="AveragedWeights"):
        train(training(folder, "callbacks.ema=null", "ckpt=last", "trainer.max_epochs=2"), tmp_path)
    assert "callbacks.ema: {...} -> null" in caplog.text
    with pytest.warns(UserWarning, match="not created with WeightAveraging"):
        train(training(folder, "ckpt=last", "trainer.max_epochs=3"), tmp_path)
    assert "callbacks.ema: null -> {...}" in caplog.text
    assert "averaging_state" in checkpoint(tmp_path)


@pytest.mark.slow
def test_with_the_cluster_head(folder: Path, tmp_path: Path) -> None:
    model = ["model=spvnas_cluster", "model.cluster.ramp_steps=2", f"model.backbone.control={folder / 'net.config'}"]
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(training(folder, *model), straight)
    train(training(folder, *model, "trainer.max_steps=3"), resumed)
    train(training(folder, *model, "ckpt=last"), resumed)
    for part in ("state_dict", "current_model_state"):
        assert not differing(checkpoint(resumed)[part], checkpoint(straight)[part])
    head = {name for name in checkpoint(straight)["state_dict"] if name.startswith("cluster.")}
    assert head


def test_the_decay_rises_to_its_value() -> None:
    found = [decay_at(torch.tensor(count), 0.9).item() for count in (0, 1, 10, 80, 81, 1000)]
    assert found == pytest.approx([0.1, 2 / 11, 11 / 20, 0.9, 0.9, 0.9])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range(decay: float) -> None:
    with pytest.raises(UserError, match=r"callbacks\.ema\.decay=.*expected a number of at least 0 and below 1"):
        AveragedWeights(decay)
