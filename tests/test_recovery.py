"""Runs that end before their time: damaged checkpoints, signals, a full disk."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig
from tiny_run import configure, tiny_settings, write_tiny

from clusterseg.build import training as runs
from clusterseg.callbacks import LastCheckpoint, Preempted, RandomStates
from clusterseg.callbacks.preemption import requeue_job
from clusterseg.commands.train import train
from clusterseg.errors import UserError
from clusterseg.runs.checkpoint import newest_whole

# Python 3.12 and later warn about fork beside threads, which is how torch starts workers on Linux there.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
QUIET = ["callbacks.dashboard=null", "callbacks.pictures=null", "callbacks.clusters=null", "callbacks.system=null"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("recovery"), {"00": 4, "08": 2})


def training(folder: Path, *overrides: str) -> DictConfig:
    """Three epochs of two steps each, with a validation after each."""
    return configure(
        "train",
        *tiny_settings(folder),
        "optim=adamw",
        "trainer=cpu",
        "trainer.max_epochs=3",
        "trainer.log_every_n_steps=1",
        *QUIET,
        *overrides,
    )


@pytest.fixture(scope="module")
def straight(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("straight")
    train(training(folder), run)
    return run


def logged(run: Path) -> list[str]:
    """The rows of metrics.csv but for what the clock says, in the order of the columns' names."""
    lines = (run / "metrics.csv").read_text().splitlines()
    keys = lines[0].split(",")
    kept = sorted((key, i) for i, key in enumerate(keys) if key != "train/scans_per_second")
    return [",".join(f"{key}={line.split(',')[i]}" for key, i in kept) for line in lines[1:]]


def assert_same(run: Path, straight: Path) -> None:
    ours, theirs = (
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for path in (run, straight)
    )
    assert ours.keys() == theirs.keys()
    assert not [key for key in theirs if not torch.equal(ours[key], theirs[key])]
    assert logged(run) == logged(straight)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    elif how == "bit":
        content[len(content) // 2] ^= 1
    elif how == "empty":
        content = bytearray()
    path.write_bytes(content)


class Ends(pl.Callback):
    """At a batch of the training or of the validation, raises an error, or has the whole job signalled.

    As by a batch system: the signal comes from another process, and to the loader's workers too.
    """

    def __init__(self, what: int | Exception, step: int, validation: bool = False) -> None:
        self.what, self.step, self.validation = what, step, validation

    def _at(self, step: int) -> None:
        if step == self.step:
            if isinstance(self.what, Exception):
                raise self.what
            job = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
            subprocess.run(["kill", f"-{int(self.what)}", *map(str, job)], check=True)

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if not self.validation:
            self._at(trainer.global_step)

    def on_validation_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if self.validation:
            self._at(trainer.global_step)


def train_until(monkeypatch: pytest.MonkeyPatch, callback: pl.Callback, config: DictConfig, run: Path) -> None:
    """Train with one more callback."""
    with monkeypatch.context() as patch:
        build = runs.build_trainer

        def with_callback(*args: object) -> pl.Trainer:
            trainer = build(*args)  # type: ignore[arg-type]
            trainer.callbacks.insert(0, callback)
            return trainer

        patch.setattr(runs, "build_trainer", with_callback)
        train(config, run)


@pytest.mark.parametrize("how", ["cut", "bit", "empty"])
def test_a_damaged_last_checkpoint_is_passed_over(
    folder: Path,
    straight: Path,
    tmp_path: Path,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = RuntimeError("power cut")
    with pytest.raises(RuntimeError, match="power cut"):
        train_until(monkeypatch, Ends(error, 4), training(folder), tmp_path)
    checkpoints = tmp_path / "checkpoints"
    damage(checkpoints / "last.ckpt", how)
    (checkpoints / ".last.ckpt.99999.tmp").write_bytes(b"half")
    with caplog.at_level(logging.WARNING):
        newest = newest_whole(checkpoints)
    assert newest is not None
    assert newest.name == "previous.ckpt"
    assert "last.ckpt" in caplog.text
    train(training(folder, "ckpt=last"), tmp_path)
    assert_same(tmp_path, straight)
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best.ckpt", "last.ckpt", "previous.ckpt"]


def test_where_nothing_is_whole_last_is_refused_and_auto_begins(folder: Path, straight: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"ckpt=last: no checkpoint in .* can be read"):
        train(training(folder, "ckpt=last"), tmp_path)
    train(training(folder, "ckpt=auto"), tmp_path)
    assert_same(tmp_path, straight)


@pytest.mark.parametrize(
    ("number", "step", "validation", "more", "written"),
    [
        (signal.SIGTERM, 2, False, "data.num_workers=1", 3),
        pytest.param(signal.SIGUSR1, 2, False, "data.num_workers=1", 3, marks=pytest.mark.slow),
        (signal.SIGUSR1, 3, False, "data.num_workers=0", 3),
        (signal.SIGTERM, 4, True, "data.num_workers=0", 3),
        (signal.SIGTERM, 2, False, "+trainer.val_check_interval=1", 2),
    ],
    ids=["workers term", "workers usr1", "last step of an epoch", "validation", "before a validation in an epoch"],
)
def test_a_signal_ends_a_run_that_goes_on_exactly(
    folder: Path,
    straight: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    step: int,
    validation: bool,
    more: str,
    written: int,
) -> None:
    """What is written is the step under way or, where a validation comes next, a step before it."""
    if "val_check_interval" in more:
        straight = tmp_path / "straight"
        train(training(folder, more), straight)
    handlers = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGUSR1)]
    with caplog.at_level(logging.WARNING), pytest.raises(Preempted) as ended:
        train_until(monkeypatch, Ends(number, step, validation), training(folder, more), tmp_path)
    assert ended.value.code == 128 + number
    assert f"ckpt=last hydra.run.dir={tmp_path}" in caplog.text
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGUSR1)] == handlers
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == written
    train(training(folder, "ckpt=last", more), tmp_path)
    assert_same(tmp_path, straight)


class LimitsFiles(pl.Callback):
    """Lets no file grow beyond half a checkpoint from a step on, as on a disk that is nearly full."""

    def on_train_batch_start(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == 3:
            (last,) = Path(trainer.default_root_dir).rglob("last.ckpt")
            resource.setrlimit(resource.RLIMIT_FSIZE, (last.stat().st_size // 2, resource.RLIM_INFINITY))


def test_a_full_disk_ends_a_run_with_one_message_and_its_checkpoint(
    folder: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(UserError, match=r"(?s)could not be written: File too large.*ckpt=last hydra\.run\.dir="):
            train_until(monkeypatch, LimitsFiles(), training(folder), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "checkpoints").glob(".*"))
    train(training(folder, "ckpt=last"), tmp_path)
    assert_same(tmp_path, straight)


def test_a_slurm_job_is_put_back_into_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    requeue_job()
    assert not (tmp_path / "called").exists()
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    requeue_job()
    assert (tmp_path / "called").read_text() == "requeue 17\n"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    requeue_job()
    assert (tmp_path / "called").read_text() == "requeue 5_2\n"
    script.write_text("#!/bin/sh\nexit 1\n")
    requeue_job()
    assert "could not be put back" in caplog.text


def test_one_checkpoint_is_there_at_every_moment(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    save = pl.Trainer.save_checkpoint

    def watched(trainer: pl.Trainer, path: Path, *args: object, **kwargs: object) -> None:
        if Path(path).name == "last.ckpt":
            seen.append([p.name for p in (Path(path), Path(path).with_name("previous.ckpt")) if p.is_file()])
        save(trainer, path, *args, **kwargs)

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", watched)
    train(training(folder, "callbacks.last.every_n_steps=1"), tmp_path)
    assert seen == [[], *[["last.ckpt", "previous.ckpt"]] * 5]  # 1 step and a validation, three times


def test_the_best_score_is_known_to_the_last_checkpoint(straight: Path) -> None:
    """Else a resumed run would take the first score that it sees for the best one."""
    checkpoint = torch.load(straight / "checkpoints" / "last.ckpt", weights_only=True)
    (best,) = [state for name, state in checkpoint["callbacks"].items() if name.startswith("ModelCheckpoint")]
    scores = [float(row.partition("val/miou=")[2].partition(",")[0] or "nan") for row in logged(straight)]
    assert float(best["best_model_score"]) == pytest.approx(max(score for score in scores if score == score))
    assert issubclass(LastCheckpoint, pl.callbacks.Checkpoint)


def test_ranks_draw_numbers_of_their_own() -> None:
    drawn = []
    for rank in (0, 1, 1, 2):
        pl.seed_everything(3, verbose=False)
        trainer = SimpleNamespace(global_rank=rank, world_size=3)
        RandomStates().on_train_start(trainer, pl.LightningModule())  # type: ignore[arg-type]
        drawn.append(torch.rand(4).tolist())
    pl.seed_everything(3, verbose=False)
    assert drawn[0] == torch.rand(4).tolist()
    assert drawn[1] == drawn[2]
    assert drawn[0] != drawn[1] != drawn[3] != drawn[0]
