"""A loss that is not finite: told with its step, term and scans; the run stops or leaves the step out."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from tiny_run import configure, tiny_settings, write_tiny
from torch import Tensor

from clusterseg.callbacks import FiniteLoss
from clusterseg.commands.train import train
from clusterseg.distributed import rank
from clusterseg.errors import UserError
from clusterseg.files import CONF
from clusterseg.losses import CrossEntropy
from clusterseg.task import SegmentationTask

Break = Callable[..., None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("finite"), {"00": 4, "08": 1})


def settings(folder: Path, *overrides: str) -> DictConfig:
    """A run whose schedule does not depend on its length."""
    config = configure(
        "train",
        "model=spvnas_cluster",
        *tiny_settings(folder),
        "data.sequences.val=[]",
        "data.batch_size=1",
        "data.max_voxels=500",
        "model.cluster.bank_size=10",
        "trainer=cpu",
        "trainer.max_steps=6",
        "trainer.max_epochs=-1",
        "trainer.log_every_n_steps=1",
        *overrides,
    )
    config.optim.scheduler = {"_target_": "clusterseg.optim.constant", "_partial_": True}
    return config


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Break:
    """Make the cross-entropy, or the features before it, not finite in chosen batches (counted from 0)."""

    def set_up(*batches: int, what: str = "loss", value: float = float("nan")) -> None:
        forward, cross_entropy, seen = SegmentationTask.forward, CrossEntropy.forward, [-1]

        def broken_forward(self: SegmentationTask, batch: object) -> object:
            seen[0] += self.training
            if what == "scan" and self.training and seen[0] in batches:
                batch.feats.fill_(value)  # type: ignore[attr-defined]
            return forward(self, batch)  # type: ignore[arg-type]

        def broken_loss(self: CrossEntropy, logits: Tensor, labels: Tensor) -> Tensor:
            term = cross_entropy(self, logits, labels)
            return term * value if what == "loss" and seen[0] in batches else term

        monkeypatch.setattr(SegmentationTask, "forward", broken_forward)
        monkeypatch.setattr(CrossEntropy, "forward", broken_loss)

    return set_up


def state(run: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return weights


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_it_stops_and_names_step_term_scan_and_checkpoint(
    folder: Path, tmp_path: Path, broken: Break, value: float
) -> None:
    broken(3, value=value)
    with pytest.raises(UserError) as caught:
        train(settings(folder, "callbacks.last.every_n_steps=1"), tmp_path)
    told = str(caught.value)
    assert f"step 3 is not finite: ce is {value} on scans 00/" in told
    assert "lovasz" not in told
    assert "on_nan=skip" in told
    assert str(tmp_path / "checkpoints" / "last.ckpt") in told
    assert f"ckpt=last hydra.run.dir={tmp_path}" in told
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())


def test_a_step_left_out_changes_nothing_that_is_kept(folder: Path, tmp_path: Path, broken: Break) -> None:
    train(settings(folder, "trainer.max_steps=3"), tmp_path / "before")
    broken(3, what="scan")
    train(settings(folder, "on_nan=skip", "trainer.max_steps=4"), tmp_path / "after")
    before, after = state(tmp_path / "before"), state(tmp_path / "after")
    assert {name for name in before if not torch.equal(before[name], after[name])} == set()
    assert before["cluster.step"] == 3


def test_it_goes_on_after_a_step_left_out(folder: Path, tmp_path: Path, broken: Break) -> None:
    broken(1, 3, what="scan")
    train(settings(folder, "on_nan=skip", "optim=adamw", "trainer.gradient_clip_val=1"), tmp_path)
    assert all(value.isfinite().all() for value in state(tmp_path).values())
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = {int(row["step"]): row for row in csv.DictReader(file) if row["train/loss"]}
    assert [rows[step]["train/loss"] for step in (1, 3)] == ["nan", "nan"]
    assert [rows[step]["train/skipped_steps"] for step in (1, 3)] == ["1.0", "2.0"]
    assert float(rows[5]["train/loss"]) < float(rows[0]["train/loss"])


def test_a_step_of_several_batches_is_left_out_whole(folder: Path, tmp_path: Path, broken: Break) -> None:
    accumulate = "trainer.accumulate_grad_batches=2"
    train(settings(folder, accumulate, "trainer.max_steps=1"), tmp_path / "before")
    broken(2, what="scan")  # the first of the second step's two
    train(settings(folder, accumulate, "on_nan=skip", "trainer.max_steps=2"), tmp_path / "after")
    before, after = state(tmp_path / "before"), state(tmp_path / "after")
    assert {name for name in before if not torch.equal(before[name], after[name])} == set()


def test_too_many_in_a_row_stop_all_the_same(folder: Path, tmp_path: Path, broken: Break) -> None:
    broken(*range(1, 6))
    with pytest.raises(UserError, match=r"step 3 .* in the last 3 steps"):
        train(settings(folder, "on_nan=skip", "+callbacks.finite.most_in_a_row=3"), tmp_path)


def test_a_gradient_alone_is_found(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is finite, its gradient is not: the square root at 0."""
    forward = CrossEntropy.forward

    def steep(self: CrossEntropy, logits: Tensor, labels: Tensor) -> Tensor:
        return forward(self, logits, labels) + (logits * 0).sum().sqrt()

    monkeypatch.setattr(CrossEntropy, "forward", steep)
    with pytest.raises(UserError, match=r"step 0 is not finite: the norm of the gradient is nan after scans 00/"):
        train(settings(folder), tmp_path)


class OnOneRank(CrossEntropy):
    """Not a number on rank 1, in the second step."""

    calls = 0

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        term = super().forward(logits, labels)
        return term * float("nan") if rank() == 1 and self.calls == 2 else term


def test_all_ranks_leave_out_a_step_that_one_cannot_take(folder: Path, tmp_path: Path) -> None:
    overrides = [
        "model=spvnas_cluster",
        *tiny_settings(folder),
        "data.sequences.val=[]",
        "data.batch_size=1",
        "trainer=ddp_cpu",
        "trainer.max_steps=2",
        "on_nan=skip",
        "loss.ce._target_=test_finite.OnOneRank",
        "callbacks.clusters=null",
        f"hydra.run.dir={tmp_path}",
    ]
    paths = os.pathsep.join([str(Path(__file__).parent), str(CONF.parent)])
    run = subprocess.run(
        [sys.executable, str(CONF.parent / "train.py"), *overrides],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert "step 1 is not finite: rank 1: ce is nan on scans 00/" in run.stdout + run.stderr
    assert all(value.isfinite().all() for value in state(tmp_path).values())


def test_a_resumed_run_goes_on_counting() -> None:
    first, second = FiniteLoss("skip"), FiniteLoss("skip")
    first.skipped, first.in_a_row = 4, 2
    second.load_state_dict(first.state_dict())
    assert (second.skipped, second.in_a_row) == (4, 2)
