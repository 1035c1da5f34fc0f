"""Input that goes away while a run goes on: one message, the way to go on, and the checkpoint as it was."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, open_dict
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from tiny import write_control, write_dataset
from tiny_run import configure

from clusterseg.commands.train import train
from clusterseg.data.watch import living_workers
from clusterseg.errors import UserError
from clusterseg.runs.faults import explained

STEPS_BEFORE = 2


class Fault(Callback):
    """After two steps, removes the data, or kills or stops a loader worker."""

    def __init__(self, remove: str | None = None, number: int = signal.SIGKILL) -> None:
        self.remove, self.number = remove, number

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_step != STEPS_BEFORE:
            return
        if self.remove:
            shutil.rmtree(self.remove)
        else:
            (worker,) = living_workers()
            os.kill(worker.pid or 0, self.number)


def settings(folder: Path, workers: int, **fault: object) -> DictConfig:
    """A run with many scans, so that workers cannot have read all of them ahead."""
    config = configure(
        "train",
        f"data.root={write_dataset(folder / 'data', {'00': 24})}",
        "data.sequences={train: [0], val: []}",
        f"data.num_workers={workers}",
        "data.batch_size=1",
        "data.max_voxels=500",
        f"model.backbone.control={write_control(folder / 'net.config')}",
        "trainer=cpu",
        "trainer.max_epochs=1",
        "callbacks.last.every_n_steps=1",
    )
    with open_dict(config):
        config.callbacks.fault = {"_target_": "test_run_faults.Fault", **fault}
    return config


@pytest.mark.parametrize(("workers", "fault"), [(0, "data"), (1, "data"), (1, "worker")])
def test_a_fault_of_the_input_ends_in_one_message(folder: Path, workers: int, fault: str) -> None:
    kwargs = {"remove": str(folder / "data")} if fault == "data" else {}
    with pytest.raises(UserError) as caught:
        train(settings(folder, workers, **kwargs), folder / "run")
    told = str(caught.value)
    if fault == "data":
        assert told.startswith(str(folder / "data" / "00" / "velodyne"))
        assert "no such scan" in told
    else:
        assert "was killed (Killed)" in told or "ended unexpectedly" in told
        assert "data.num_workers" in told
    last = folder / "run" / "checkpoints" / "last.ckpt"
    assert f"The last checkpoint is {last}" in told
    assert f"ckpt=last hydra.run.dir={folder / 'run'}" in told
    assert len(told.splitlines()) == 2
    saved = STEPS_BEFORE - (fault == "worker")  # the news may come before the step is saved
    assert torch.load(last, weights_only=True)["global_step"] >= saved


def test_a_worker_that_hangs_ends_in_one_message(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusterseg.data.watch.SECONDS", 3)
    with pytest.raises(UserError, match=r"(?s)have sent none for 3 s.*data\.num_workers=0\nThe last checkpoint is"):
        train(settings(folder, 1, number=int(signal.SIGSTOP)), folder / "run")
    for process in living_workers():
        process.join(5)
    assert not living_workers(), "the end of the process would wait for it"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def test_what_is_a_bug_stays_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), explained(tmp_path, resumed=False):
        raise RuntimeError("shapes do not match")


def test_the_memory_of_a_gpu() -> None:
    with pytest.raises(UserError, match=r"memory is full.*data\.batch_size"), explained(Path("none"), resumed=False):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")


def test_the_checkpoint_of_another_run_is_not_offered(tmp_path: Path) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.parent.mkdir()
    last.write_bytes(b"of an earlier run in the same folder")
    with pytest.raises(UserError) as caught, explained(tmp_path, resumed=False):
        raise UserError("x.bin: no such scan")
    assert str(caught.value) == "x.bin: no such scan"
    with pytest.raises(UserError, match=r"no such scan\nThe last checkpoint is"), explained(tmp_path, resumed=True):
        raise UserError("x.bin: no such scan")
