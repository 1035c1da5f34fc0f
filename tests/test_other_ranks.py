"""A run that goes on with another number of processes ends where it would have ended without the stop.

In float64, with 4 scans a step, normalised and sorted over all processes, without dropout: see docs/faults.md.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from omegaconf import DictConfig
from ranks import start_ranks
from tiny_run import configure, tiny_settings, write_tiny

from clusterseg.build.prepare import prepare
from clusterseg.build.training import build
from clusterseg.commands.train import fit
from clusterseg.config.resumable import warn_of_other_steps
from clusterseg.runs.lock import working_in

SCANS_A_STEP = 4
HEADS = {
    "spvnas": [],
    "spvnas_cluster": ["model.cluster={clusters_per_class: 4, anchors_per_class: 24, bank_size: 20, ramp_steps: 0}"],
}


class Seen(pl.Callback):
    """Writes the scans of each step, of this process."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        step = self.run / "seen" / f"{trainer.global_step}"
        step.mkdir(parents=True, exist_ok=True)
        (step / f"{trainer.global_rank}").write_text(json.dumps(batch.scan_ids))


def training(folder: Path, model: str, ranks: int, *overrides: str) -> DictConfig:
    """Two epochs of two steps each."""
    config = configure(
        "train",
        f"model={model}",
        *HEADS[model],
        *tiny_settings(folder),
        "data.voxel_size=0.5",
        f"data.batch_size={SCANS_A_STEP // ranks}",
        "model.backbone.dropout=0",
        "loss.lovasz.joint=true",
        "optim.optimizer.lr=0.02",
        "trainer=cpu" if ranks == 1 else "trainer=ddp_cpu",
        "trainer.sync_batchnorm=true",
        "trainer.max_epochs=2",
        *(f"callbacks.{name}=null" for name in ("clusters", "dashboard", "pictures")),
        *overrides,
    )
    config.optim.scheduler = {"_target_": "clusterseg.optim.constant", "_partial_": True}
    return config


def train_double(config: DictConfig, run: Path) -> None:
    with working_in(run):
        parts = build(prepare(config), run)
        parts.task.double()
        parts.trainer.callbacks.insert(0, Seen(run))  # type: ignore[attr-defined]
        fit(parts)


def one_rank(rank: int, port: int, jobs: list[tuple[DictConfig, Path]]) -> None:
    """Run the jobs one after another, as one process of two."""
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for job in jobs:
        train_double(*job)


def on_two_ranks(jobs: list[tuple[DictConfig, Path]]) -> None:
    start_ranks(one_rank, 2, find_free_network_port(), jobs)


@pytest.fixture(scope="module", params=[pytest.param("spvnas", marks=pytest.mark.slow), "spvnas_cluster"])
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs `straight`, and `two_then_one` and `one_then_two`, which stop in mid-epoch."""
    folder, model = write_tiny(tmp_path_factory.mktemp("ranks"), {"00": 8, "08": 2}), request.param
    train_double(training(folder, model, 1), folder / "straight")
    train_double(training(folder, model, 1, "trainer.max_steps=1"), folder / "one_then_two")
    on_two_ranks(
        [
            (training(folder, model, 2, "trainer.max_steps=1"), folder / "two_then_one"),
            (training(folder, model, 2, "ckpt=last"), folder / "one_then_two"),
        ]
    )
    train_double(training(folder, model, 1, "ckpt=last"), folder / "two_then_one")
    return folder


def seen(run: Path) -> list[list[str]]:
    """The scans of each step, those of one rank after those of the other."""
    steps = sorted((run / "seen").iterdir(), key=lambda step: int(step.name))
    return [[scan for rank in sorted(step.iterdir()) for scan in json.loads(rank.read_text())] for step in steps]


@pytest.mark.parametrize("name", ["one_then_two", "two_then_one"])
def test_it_ends_where_the_run_without_a_stop_does(runs: Path, name: str) -> None:
    straight, stopped = runs / "straight", runs / name
    assert seen(stopped) == seen(straight)
    assert [len(step) for step in seen(straight)] == [SCANS_A_STEP] * 4
    whole, parts = (torch.load(run / "checkpoints/last.ckpt", weights_only=True) for run in (straight, stopped))
    assert whole["global_step"] == parts["global_step"] == 4
    pairs = {key: (parts["state_dict"][key].double(), value.double()) for key, value in whole["state_dict"].items()}
    off = {key: (one - other).abs().max().item() for key, (one, other) in pairs.items()}
    print("largest difference", max(off.values()))
    assert max(off.values()) <= 1e-6, max(off, key=lambda key: off[key])


@pytest.mark.parametrize(
    ("scans", "batches", "remedy"),
    [(4.0, 2, None), (2.0, 1, "data.batch_size=4"), (2.0, 2, "data.batch_size=2"), (3.0, 3, "divides 4 evenly")],
)
def test_steps_of_other_scans_are_told(
    runs: Path, caplog: pytest.LogCaptureFixture, scans: float, batches: int, remedy: str | None
) -> None:
    last = runs / "one_then_two" / "checkpoints/last.ckpt"
    with caplog.at_level(logging.WARNING, "clusterseg"):
        warn_of_other_steps(last, torch.load(last, weights_only=True), scans, batches)
    if remedy is None:
        assert not caplog.records
    else:
        assert f"took 4 scans a step, this run takes {scans:g}" in caplog.text
        assert remedy in caplog.text
