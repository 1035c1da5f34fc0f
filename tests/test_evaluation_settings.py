"""What can be set when a checkpoint is scored, and what cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny import write_dataset
from tiny_run import configure

from clusterseg.build.ensemble import read_networks
from clusterseg.build.evaluation import build_data
from clusterseg.build.task import plain
from clusterseg.build.trainer import eval_trainer
from clusterseg.commands.evaluate import evaluate, run_of
from clusterseg.errors import UserError


def scored(tiny_run: Path, *overrides: str) -> list[str]:
    """The scans of the validation split under overrides."""
    ckpt = tiny_run / "run/checkpoints/best.ckpt"
    config = configure("evaluate", f"ckpt={ckpt}", "trainer=cpu", *overrides)
    return build_data(plain(config)["data"], read_networks(ckpt)).dataset("val").scan_ids


def test_the_override_that_trained_the_model_also_scores_it(tiny_run: Path, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "more", {"07": 1, "09": 2})
    assert scored(tiny_run) == ["08/000000", "08/000001", "08/000002"]
    both = ["07/000000", "09/000000", "09/000001"]
    assert scored(tiny_run, f"data.root={root}", "data.sequences.val=[7,9]") == both
    assert scored(tiny_run, f"data.root={root}", "data.sequences={val: [7,9]}") == both
    assert scored(tiny_run, f"data.root={root}", "data.sequences.val=[7,9]", "data.max_scans=2") == both[:2]
    assert scored(tiny_run, "data.max_scans=1", "data.protocol=trainval") == ["08/000000"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+data.voxel_size=0.4", r"data\.voxel_size cannot be set here: the network was trained with its own"),
        ("+data.label_map=semantickitti_release", r"data\.label_map cannot be set here"),
        ("+data.batchsize=3", r"data\.batchsize: .* takes no such setting.*did you mean"),
        ("data.max_scans=0", r"data\.max_scans=0: expected an integer of at least 1"),
        ("data.num_workers=two", r"data\.num_workers=two: expected an integer"),
        ("data.protocol=semi", r"data\.protocol=semi.*train, trainval"),
    ],
)
def test_what_cannot_be_set(tiny_run: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scored(tiny_run, override)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer=gpu", r"trainer\.accelerator=gpu: PyTorch sees no GPU.*trainer=cpu"),
        ("trainer.devices=0", r"trainer\.devices=0: nothing to run on"),
        ("trainer.precision=17", r"trainer\.precision=17: expected"),
        ("tta=mirror", r"tta=mirror: no such test-time augmentation"),
    ],
)
def test_a_machine_that_is_not_there(
    tiny_run: Path, tmp_path: Path, override: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    config = configure("evaluate", f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}", override)
    with pytest.raises(UserError, match=message):
        evaluate(config, tmp_path)


@pytest.mark.parametrize("name", ["evaluate", "predict"])
@pytest.mark.parametrize(
    ("overrides", "precision"),
    [([], "64-true"), (["precision=bf16-mixed"], "bf16-mixed"), (["trainer.precision=bf16-mixed"], "bf16-mixed")],
)
def test_the_precision_is_that_of_the_training_or_as_asked_for(name: str, overrides: list[str], precision: str) -> None:
    trainer = eval_trainer(configure(name, "trainer=cpu", *overrides), "64-true")
    assert trainer.precision == precision


def test_a_checkpoint_at_the_top_of_the_file_system() -> None:
    assert run_of(Path("/x.ckpt")) is None
    assert run_of(Path("/a/x.ckpt")) == Path("/")
    assert run_of(Path("/runs/first/checkpoints/best.ckpt")) == Path("/runs/first")


def test_the_home_folder_is_expanded(tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny_run))
    assert read_networks("~/run/checkpoints/best.ckpt").paths == (os.fspath(tiny_run / "run/checkpoints/best.ckpt"),)
