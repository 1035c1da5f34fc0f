"""What a run logs beside losses and scores, and where it sends it: one run with everything on."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import wandb
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from matplotlib.image import imread
from omegaconf import DictConfig, OmegaConf
from test_run import rows, state
from tiny_run import configure, tiny_settings, write_tiny
from torch.optim import Optimizer
from wandb_file import records

from clusterseg.commands.train import train
from clusterseg.data.label_map import load_label_map
from clusterseg.files import CONF
from clusterseg.runs.wandb import WandbRun, wandb_logger

CLIP, EPOCHS = 0.01, 2


class Spy(pl.Callback):
    """Notes, for each optimiser step, the norms of the gradients and the learning rate."""

    seen: list[dict[str, float]] = []  # noqa: RUF012

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        squares = {"train": 0.0, "cluster": 0.0}
        for name, parameter in pl_module.named_parameters():
            for value in [] if parameter.grad is None else parameter.grad.flatten().double().tolist():
                squares["train"] += value * value
                squares["cluster"] += value * value if name.startswith("cluster.proj.") else 0.0
        norms = {f"{part}/grad_norm": math.sqrt(square) for part, square in squares.items()}
        Spy.seen.append({"step": trainer.global_step, "train/lr": optimizer.param_groups[0]["lr"], **norms})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("logged"), {"00": 4, "08": 3})


def configured(folder: Path, *overrides: str, head: bool = False) -> DictConfig:
    clustering = ["model=spvnas_cluster", "model.cluster.clusters_per_class=4"] if head else ["model=spvnas"]
    return configure(
        "train",
        *tiny_settings(folder),
        "data.batch_size=1",
        *clustering,
        "optim=adamw",
        "trainer=cpu",
        f"trainer={{max_epochs: {EPOCHS}, accumulate_grad_batches: 2, log_every_n_steps: 1}}",
        f"trainer.gradient_clip_val={CLIP}",
        *overrides,
    )


@pytest.fixture(scope="module")
def offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        yield


@pytest.fixture(scope="module")
def run(folder: Path, offline: None) -> Path:
    spied = "+callbacks.spy._target_=test_logged.Spy"
    config = configured(folder, "logger=wandb", "logger.wandb.artifacts=true", spied, head=True)
    stale = folder / "run" / "pictures" / "08_000000" / "step_000999.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    Spy.seen.clear()
    train(config, folder / "run")
    return folder / "run"


def column(run: Path, name: str) -> dict[int, float]:
    return {int(row["step"]): float(row[name]) for row in rows(run) if row[name]}


@pytest.mark.parametrize("name", ["train/grad_norm", "cluster/grad_norm", "train/lr"])
def test_norms_and_rate_are_those_of_the_step(run: Path, name: str) -> None:
    expected = {entry["step"]: entry[name] for entry in Spy.seen}
    assert sorted(expected) == list(range(2 * EPOCHS))
    assert column(run, name) == pytest.approx(expected, rel=1e-4)
    if name == "train/grad_norm":
        assert min(expected.values()) > 2 * CLIP, "or the clipping would not be told from the norm"


def test_time_and_memory(run: Path) -> None:
    hours, memory = column(run, "system/hours"), column(run, "system/memory_mib")
    assert len(hours) == len(memory) == 2 * EPOCHS
    assert 0 < hours[0] < hours[1] < hours[2] < hours[3] < 1
    assert all(100 < value < 100_000 for value in memory.values())


def test_pictures_show_the_first_scans_after_each_validation(run: Path, folder: Path) -> None:
    found = sorted(str(path.relative_to(run / "pictures")) for path in (run / "pictures").rglob("*.png"))
    validated = sorted(column(run, "val/miou"))
    assert found == [f"08_00000{scan}/step_{step:06d}.png" for scan in range(2) for step in validated]
    image = (imread(run / "pictures" / found[0])[..., :3] * 255).round()
    panels = dict(zip(("input", "truth", "prediction", "error"), np.array_split(image, 4, axis=1), strict=True))
    label_map = load_label_map("semantickitti")
    for name in ("road", "building", "vegetation", "car"):
        colour = label_map.colours[label_map.class_names.index(name)]
        assert (panels["truth"] == colour).all(-1).sum() > 50, name
        assert not (panels["input"] == colour).all(-1).any()


def test_pictures_and_figures_do_not_change_the_training(run: Path, folder: Path) -> None:
    without = dict.fromkeys(("pictures", "dashboard", "gradients", "system", "lr", "clusters"))
    config = configured(folder, "logger=none", head=True)
    config.callbacks = {**config.callbacks, **without}
    train(config, folder / "bare")
    assert not (folder / "bare" / "pictures").exists()
    with_, bare = (state(path / "checkpoints" / "last.ckpt") for path in (run, folder / "bare"))
    assert [name for name in bare if not torch.equal(bare[name], with_[name])] == []


def test_the_run_ends_with_a_dashboard(run: Path) -> None:
    page = (run / "dashboard.html").read_text()
    assert page.count("<img") == 2 * EPOCHS + 1, "the scans, and the clusters"
    best = max(column(run, "val/miou").values())
    assert f"<b>{100 * best:.2f} %</b><span>best val mIoU" in page
    titles = {chart["title"] for chart in json.loads(re.findall(r'json">(.*?)</script>', page, re.S)[0])["charts"]}
    assert {"Validation", "Loss", "car", "Learning rate", "Gradient norm before clipping", "Bank filled"} <= titles


def test_what_cannot_be_drawn_costs_nothing_but_itself(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "dashboard.html").mkdir()
    (tmp_path / "pictures").write_text("in the way")
    with caplog.at_level(logging.WARNING, "clusterseg"):
        train(configured(folder, "trainer.max_epochs=1"), tmp_path)
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()
    said = " ".join(caplog.messages)
    assert "no dashboard" in said
    assert "no picture of scan 08/000001" in said


def of_kind(run: Path, kind: str) -> list[Any]:
    return [getattr(record, kind) for record in records(run) if record.WhichOneof("record_type") == kind]


def test_wandb_has_every_column_and_the_pictures(run: Path) -> None:
    keys = {item.key or item.nested_key[0] for entry in of_kind(run, "history") for item in entry.item}
    assert set(rows(run)[0]) - {"step"} <= keys
    assert {"pictures/08_000000", "pictures/08_000001", "clusters", "trainer/global_step"} <= keys


def test_wandb_has_the_configuration_and_the_summaries(run: Path) -> None:
    config = {item.key: json.loads(item.value_json) for entry in of_kind(run, "config") for item in entry.update}
    assert config["model"]["cluster"]["clusters_per_class"] == 4
    assert set(OmegaConf.load(run / "config.yaml")) <= set(config)
    metrics = {metric.name or metric.glob_name: metric for metric in of_kind(run, "metric")}
    assert metrics["val/miou"].summary.max
    assert all(metrics[name].step_metric == "trainer/global_step" for name in ("*", "val/miou"))


def test_wandb_keeps_the_checkpoints_if_asked_and_is_over(run: Path) -> None:
    (artifact,) = of_kind(run, "artifact")
    assert {entry.path for entry in artifact.manifest.contents} == {"best.ckpt", "last.ckpt"}
    assert [entry.exit_code for entry in of_kind(run, "exit")] == [0]
    assert wandb.run is None, "the next run of a sweep is another"


def test_an_unreachable_server_is_told_and_the_run_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"MODE": "online", "BASE_URL": "http://127.0.0.1:9", "API_KEY": "0" * 40}
    for name, value in settings.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    with caplog.at_level(logging.WARNING, "clusterseg"):
        train(configured(folder, "logger=wandb", "logger.wandb.timeout=1", "callbacks.pictures.every=2"), tmp_path)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "clusterseg"]
    assert re.fullmatch(r"wandb cannot go online \(.+\); it goes offline, `wandb sync` uploads later", said)
    assert of_kind(tmp_path, "exit")
    assert len(column(tmp_path, "train/loss")) == 2 * EPOCHS
    assert [path.name for path in (tmp_path / "pictures" / "08_000000").iterdir()] == ["step_000001.png"]


def test_the_parts_of_a_resumed_run_have_one_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    ids = []
    for resumed in (False, True, True, False):
        logger = wandb_logger(tmp_path)
        logger.go_on(resumed)
        ids.append(logger.experiment.id)
        logger.finalize("success")
    assert ids[0] == ids[1] == ids[2] != ids[3]


@pytest.mark.parametrize(("mode", "key", "expected"), [("online", "", "offline"), ("disabled", "0" * 40, "disabled")])
def test_it_never_asks_for_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, key: str, expected: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    logger = wandb_logger(tmp_path)
    begun = logger.experiment
    assert begun.settings.mode == expected or begun.disabled
    logger.finalize("success")


def test_a_wandb_that_breaks_down_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        dir = "somewhere/files"
        calls = 0

        def log(self, metrics: dict[str, float]) -> None:
            Broken.calls += 1
            raise BrokenPipeError("service is gone")

        def finish(self, exit_code: int) -> None:
            raise TimeoutError("no answer")

    logger = WandbRun(tmp_path, artifacts=False, timeout=1, finish_timeout=1)
    logger._experiment = Broken()
    with caplog.at_level(logging.WARNING, "clusterseg"):
        for step in range(3):
            logger.log_metrics({"a": 1.0}, step)
        logger.finalize("success")
    assert Broken.calls == 1
    assert len(caplog.messages) == 2
    assert "wandb sync somewhere" in caplog.messages[1]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Path]:
    """One job of a multirun over seeds, as Hydra describes it."""
    sweep = tmp_path / "night"
    mode = ["hydra.mode=MULTIRUN", f"hydra.sweep.dir={sweep}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["data.root=x", "seed=2", *mode], return_hydra_config=True)
    sweep.mkdir()
    OmegaConf.save({"hydra": {"overrides": {"task": ["data.root=x", "seed=1,2"]}}}, sweep / "multirun.yaml")
    HydraConfig.instance().set_config(config)
    yield sweep
    HydraConfig.instance().cfg = None


def test_a_sweep_is_a_group_and_its_runs_tell_their_settings(job: Path, tmp_path: Path) -> None:
    logger = wandb_logger(tmp_path, name="spvnas")
    assert logger._wandb_init["group"] == "night"
    assert logger._wandb_init["name"] == "spvnas seed=2"
    assert wandb_logger(tmp_path, group="mine")._wandb_init["group"] == "mine"


def test_outside_a_sweep_there_is_no_group(tmp_path: Path) -> None:
    logger = wandb_logger(tmp_path, name="spvnas", entity="team")
    assert logger._wandb_init["entity"] == "team"
    assert logger._wandb_init["group"] is None
    assert logger._wandb_init["name"] == "spvnas"
