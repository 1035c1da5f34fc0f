"""Whole runs on tiny scans: train, evaluate, resume."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from tiny_run import configure, tiny_settings, write_tiny

from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.train import train
from clusterseg.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("run"), {"00": 4, "08": 2})


def training(folder: Path, *overrides: str) -> DictConfig:
    return configure(
        "train",
        *tiny_settings(folder),
        "optim=adamw",
        "optim.optimizer.lr=0.02",
        "trainer=cpu",
        "trainer.max_epochs=3",
        *overrides,
    )


def evaluating(checkpoint: Path, *overrides: str) -> DictConfig:
    return configure("evaluate", f"ckpt={checkpoint}", "trainer=cpu", "pictures=0", *overrides)


def rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    train(training(folder), folder / "trained")
    return folder / "trained"


def test_a_run_keeps_everything_in_its_folder(trained: Path) -> None:
    losses = [float(row["train/loss"]) for row in rows(trained) if row["train/loss"]]
    assert losses[-1] < losses[0]
    assert {"checkpoints/best.ckpt", "checkpoints/last.ckpt", "config.yaml"} <= {
        str(path.relative_to(trained)) for path in trained.rglob("*")
    }
    assert OmegaConf.load(trained / "config.yaml").optim.optimizer.lr == 0.02
    assert not list(trained.rglob("*.tmp")), "nothing half-written"


def test_evaluation_reproduces_the_logged_scores(trained: Path, tmp_path: Path) -> None:
    logged = [row for row in rows(trained) if row["val/miou"]]
    best = max(logged, key=lambda row: float(row["val/miou"]))
    result = evaluate(evaluating(trained / "checkpoints" / "best.ckpt"), tmp_path)
    assert result["miou"] == pytest.approx(float(best["val/miou"]), abs=1e-6)
    assert result["miou_present"] == pytest.approx(float(best["val/miou_present"]), abs=1e-6)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert set(result) >= {"miou", "miou_present", "accuracy", "iou", "points", "scans"}
    assert result["scans"] == 2
    assert result["points"] == 2 * 4900


def test_evaluation_finds_data_that_moved(trained: Path, folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder / "data", moved)
    first = evaluate(evaluating(trained / "checkpoints" / "last.ckpt"), tmp_path / "a")
    second = evaluate(evaluating(trained / "checkpoints" / "last.ckpt", f"data.root={moved}"), tmp_path / "b")
    scores = ("miou", "miou_present", "accuracy", "iou", "points", "scans")
    assert [first[name] for name in scores] == [second[name] for name in scores]


def constant_rate(folder: Path, *overrides: str) -> DictConfig:
    """A run whose schedule does not depend on its planned length."""
    config = training(folder, "trainer.check_val_every_n_epoch=2", *overrides)
    config.optim.scheduler = {"_target_": "clusterseg.optim.constant", "_partial_": True}
    return config


@pytest.fixture(scope="module")
def straight(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("straight")
    train(constant_rate(folder), run)
    return run


STOPS = ["trainer.max_epochs=1", "trainer.max_epochs=2", *(f"trainer.max_steps={n}" for n in range(1, 6))]
QUICK = ("trainer.max_epochs=1", "trainer.max_steps=3")  # after an epoch, and within one


@pytest.mark.parametrize(
    ("stop", "length"),
    [
        *((stop, "trainer.max_epochs=3") for stop in STOPS),
        *((stop, "trainer.max_steps=6") for stop in QUICK),
        *(pytest.param(stop, "trainer.max_steps=6", marks=pytest.mark.slow) for stop in STOPS if stop not in QUICK),
    ],
)
def test_a_resumed_run_continues_exactly(folder: Path, straight: Path, tmp_path: Path, stop: str, length: str) -> None:
    train(constant_rate(folder, stop), tmp_path)
    train(constant_rate(folder, "ckpt=last", length), tmp_path)
    states = [
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (straight, tmp_path)
    ]
    assert states[0].keys() == states[1].keys()
    differ = [key for key in states[0] if not torch.equal(states[0][key], states[1][key])]
    assert not differ
    scores = [[(row["step"], row["val/miou"]) for row in rows(run) if row["val/miou"]] for run in (straight, tmp_path)]
    assert scores[0] == scores[1], "metrics.csv is kept and not doubled"


def test_without_validation_there_is_no_best(folder: Path, tmp_path: Path) -> None:
    train(training(folder, "data.sequences.val=[]", "trainer.max_epochs=1"), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_a_new_run_in_an_old_folder_starts_its_metrics_anew(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        train(training(folder, "trainer.max_epochs=1", "overwrite=true"), tmp_path)
    assert len([row for row in rows(tmp_path) if row["val/miou"]]) == 1


def test_an_old_run_is_not_replaced_unless_that_is_asked_for(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    train(training(folder, "trainer.max_steps=1"), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=r"has finished.*ckpt=last.*hydra\.run\.dir=DIR.*overwrite=true"):
        train(training(folder, "seed=2"), tmp_path)
    with pytest.raises(UserError, match=r"leave one of them out"):
        train(training(folder, "ckpt=last", "overwrite=true"), tmp_path)
    with pytest.raises(UserError, match=r"no such folder"):
        train(training(folder, "overwrite=true", f"data.root={tmp_path / 'none'}"), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    train(training(folder, "overwrite=true", "trainer.max_steps=1", "data.sequences.val=[]"), tmp_path)
    assert (tmp_path / "notes.txt").is_file()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"], "best.ckpt was the old run's"


@pytest.mark.parametrize("logger", ["none", "tensorboard", "wandb"])
def test_loggers(folder: Path, tmp_path: Path, logger: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_SILENT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-login"))
    train(training(folder, f"logger={logger}", "trainer.max_steps=1"), tmp_path)
    files = [path.name for path in tmp_path.rglob("*")]
    expected = {"none": "last.ckpt", "tensorboard": "events.out.tfevents", "wandb": ".wandb"}[logger]
    assert any(expected in name for name in files)
    assert ("metrics.csv" in files) is (logger != "none")


def test_a_checkpoint_of_another_number_of_classes_is_refused(trained: Path, tmp_path: Path) -> None:
    checkpoint: dict[str, Any] = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    state = checkpoint["state_dict"]
    for name in ("backbone.classifier.linear.weight", "backbone.classifier.linear.bias"):
        state[name] = state[name][:7]
    torch.save(checkpoint, tmp_path / "seven.ckpt")
    with pytest.raises(UserError, match=r"seven\.ckpt.* 7 classes.* 19"):
        evaluate(evaluating(tmp_path / "seven.ckpt"), tmp_path / "out")


@pytest.mark.parametrize(
    "model",
    ["spvcnn_cluster", "minkunet_cluster", *(pytest.param(m, marks=pytest.mark.slow) for m in ("spvcnn", "minkunet"))],
)
def test_every_model_trains_and_is_scored(folder: Path, tmp_path: Path, model: str) -> None:
    config = configure(
        "train",
        f"model={model}",
        "model.backbone.cr=0.1",
        f"data.root={folder / 'data'}",
        "data.sequences={train: [0], val: []}",
        "data.num_workers=0",
        "trainer=cpu",
        "trainer.max_steps=2",
    )
    metrics = train(config, tmp_path)
    assert ("train/loss_point_center" in metrics) is model.endswith("_cluster")
    result = evaluate(evaluating(tmp_path / "checkpoints" / "last.ckpt", "data.sequences={val: [8]}"), tmp_path / "e")
    assert result["scans"] == 2


def state(checkpoint: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True)["state_dict"]
    return weights


def test_a_run_starts_from_weights(folder: Path, trained: Path, tmp_path: Path) -> None:
    """With a learning rate of zero it keeps them; a resumed run does not ask for the file again."""
    weights = tmp_path / "weights.pt"
    shutil.copy(trained / "checkpoints" / "last.ckpt", weights)
    overrides = ("seed=7", f"model.init_from={weights}", "optim.optimizer.lr=0.0", "optim.optimizer.weight_decay=0.0")
    train(training(folder, "trainer.max_steps=1", *overrides), tmp_path / "run")
    before, after = state(weights), state(tmp_path / "run" / "checkpoints" / "last.ckpt")
    learned = [name for name in before if name.endswith(("kernel", "weight", "bias"))]
    assert len(learned) > 50
    assert all(torch.equal(before[name], after[name]) for name in learned)
    weights.unlink()
    with pytest.raises(UserError, match=r"model\.init_from=.*weights\.pt: no such file"):
        train(training(folder, "trainer.max_steps=2", *overrides), tmp_path / "again")
    train(training(folder, "trainer.max_steps=2", "ckpt=last", *overrides), tmp_path / "run")


def test_a_cluster_head_starts_from_the_projection_of_a_file(folder: Path, tmp_path: Path) -> None:
    short = ("model=spvnas_cluster", "trainer.max_steps=1")
    train(training(folder, *short), tmp_path / "first")
    weights = tmp_path / "first" / "checkpoints" / "last.ckpt"
    stay = ("seed=7", "optim.optimizer.lr=0.0", "optim.optimizer.weight_decay=0.0")
    train(training(folder, *short, f"model.init_from={weights}", *stay), tmp_path / "second")
    before, after = state(weights), state(tmp_path / "second" / "checkpoints" / "last.ckpt")
    assert torch.equal(before["cluster.proj.0.weight"], after["cluster.proj.0.weight"])
