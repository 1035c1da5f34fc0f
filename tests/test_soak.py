"""Hundreds of short epochs in one process: what they use stays what it is after some of them."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytorch_lightning as pl
from tiny import write_control, write_dataset
from tiny_run import configure

from clusterseg.build import training as runs
from clusterseg.commands.train import train

EPOCHS, WARM, EVERY = 300, 60, 20
MIB = 2**20

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),  # see test_recovery.py
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]


@dataclass(frozen=True)
class Used:
    """What a process and its run use: bytes of memory, open files, threads, and the bytes of the run's folder."""

    epoch: int
    memory: int
    files: int
    threads: int
    disk: int
    pictures: int


def used(epoch: int, run: Path) -> Used:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    sizes = {path: path.stat().st_size for path in run.rglob("*") if path.is_file()}
    pictures = [path for path in sizes if path.suffix == ".png"]
    disk = sum(size for path, size in sizes.items() if path not in pictures and path.name != "metrics.csv")
    threads = len(os.listdir("/proc/self/task"))
    memory = pages * os.sysconf("SC_PAGE_SIZE")
    return Used(epoch, memory, len(os.listdir("/proc/self/fd")), threads, disk, len(pictures))


class Watch(pl.Callback):
    """Looks at what is used, every few epochs."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.found: list[Used] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch % EVERY == 0:
            self.found.append(used(trainer.current_epoch, self.run))
            print(self.found[-1], flush=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_run_uses_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """With the cluster head, a validation in each epoch, and what a run writes by default."""
    run, build = tmp_path / "run", runs.build_trainer
    watch = Watch(run)

    def watched(*args: object) -> pl.Trainer:
        trainer = build(*args)  # type: ignore[arg-type]
        trainer.callbacks.insert(0, watch)
        return trainer

    monkeypatch.setattr(runs, "build_trainer", watched)
    config = configure(
        "train",
        "model=spvnas_cluster",
        "model.cluster={clusters_per_class: 4, anchors_per_class: 24, bank_size: 20}",
        f"data.root={write_dataset(tmp_path / 'data', {'00': 2, '08': 1}, points=100)}",
        "data.sequences={train: [0], val: [8]}",
        f"data={{num_workers: {workers}, voxel_size: 1.0, batch_size: 1}}",
        f"model.backbone.control={write_control(tmp_path / 'net.config')}",
        "callbacks.pictures.every=50",
        "trainer=cpu",
        f"trainer.max_epochs={EPOCHS if workers == 0 else EPOCHS // 2}",
    )
    train(config, run)
    warm = [look for look in watch.found if look.epoch >= WARM]
    first, last = warm[0], warm[-1]
    per_epoch = (last.memory - first.memory) / (last.epoch - first.epoch)
    print(f"{per_epoch / 1024:.1f} KiB of memory per epoch; {first} -> {last}")
    assert per_epoch < 20 * 1024, "memory"
    assert last.files <= first.files, "open files"
    assert last.threads <= first.threads, "threads"
    assert last.disk <= first.disk + 4096, "the run's folder, but for its figures and pictures"
    assert last.pictures <= first.pictures + (last.epoch - first.epoch) // 50 + 1
