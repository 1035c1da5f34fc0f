from __future__ import annotations

import multiprocessing
import signal
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from clusterseg.data.batch import Batch
from clusterseg.data.dataset import ScanDataset
from clusterseg.data.label_map import load_label_map
from clusterseg.data.loader import TrainLoader, eval_loader, train_loader
from clusterseg.data.sampler import EvalSampler, TrainSampler
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.data.transforms import RandomFlip, RandomRotation, RandomScale

MakeRoot = Callable[..., Path]

# Python 3.12 and later warn about fork beside threads, which is how torch starts workers on Linux there.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert one.scan_ids == other.scan_ids
        for field in fields(Batch):
            value = getattr(one, field.name)
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, getattr(other, field.name)), field.name


def loader(root: Path, num_workers: int = 0, batch_size: int = 2, **sampler: int) -> TrainLoader:
    dataset = ScanDataset(
        SemanticKittiReader(root, sequences={"train": ["00"]}),
        "train",
        load_label_map("semantickitti"),
        max_voxels=150,
        transforms=(RandomRotation(), RandomScale(), RandomFlip()),
        seed=5,
    )
    return train_loader(
        dataset,
        TrainSampler(len(dataset), seed=5, **sampler),
        batch_size=batch_size,
        num_workers=num_workers,
        pin_memory=True,
        persistent_workers=True,
    )


def epochs(loader: TrainLoader, count: int = 3) -> list[Batch]:
    batches = []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        batches += list(loader)
    return batches


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_change_nothing_over_epochs(make_root: MakeRoot, num_workers: int) -> None:
    root = make_root({"00": 5})
    alone = epochs(loader(root))
    assert_same(alone, epochs(loader(root, num_workers)))
    assert not torch.equal(alone[0].feats, alone[3].feats)


def test_workers_use_one_thread_and_leave_the_global_random_state(make_root: MakeRoot) -> None:
    before = torch.get_rng_state()
    train = loader(make_root({"00": 4}), num_workers=1)
    list(train)
    assert torch.equal(torch.get_rng_state(), before)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        assert train.worker_init_fn is not None
        train.worker_init_fn(0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_a_worker_ends_with_its_run_and_not_with_a_signal_to_all(make_root: MakeRoot) -> None:
    batches = iter(loader(make_root({"00": 4}), num_workers=1))
    next(batches)
    (worker,) = multiprocessing.active_children()
    for number in (signal.SIGTERM, signal.SIGUSR1):
        subprocess.run(["kill", f"-{int(number)}", str(worker.pid)], check=True)
    next(batches)
    worker.join(0.5)
    assert worker.is_alive()
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0, "another status would be told as a fault"


@pytest.mark.parametrize("num_workers", [0, 2])
def test_goes_on_in_the_middle_of_an_epoch(make_root: MakeRoot, num_workers: int) -> None:
    root = make_root({"00": 7})
    train = loader(root, num_workers)
    train.sampler.set_epoch(2)  # type: ignore[attr-defined]
    whole = list(train)
    stopped = loader(root, num_workers)
    stopped.sampler.set_epoch(2)  # type: ignore[attr-defined]
    batches = iter(stopped)
    for _ in range(2):
        next(batches)
    state = stopped.state_dict()
    assert state == {"epoch": 2, "scans": 4}
    resumed = loader(root, num_workers)
    resumed.load_state_dict(state)
    assert resumed.state_dict() == state and len(resumed) == 4
    assert_same(list(resumed), whole[2:])
    resumed.sampler.set_epoch(3)  # type: ignore[attr-defined]
    assert sum(batch.num_scans for batch in resumed) == 7


def test_state_after_the_last_batch_is_the_next_epoch(make_root: MakeRoot) -> None:
    root = make_root({"00": 5})
    train = loader(root)
    list(train)
    state = train.state_dict()
    resumed = loader(root)
    resumed.load_state_dict(state)
    train.sampler.set_epoch(1)  # type: ignore[attr-defined]
    assert train.state_dict() == state  # nothing of epoch 1 is handed out yet
    assert_same(list(resumed), list(train))


def test_evaluation_is_every_scan_in_order(make_root: MakeRoot) -> None:
    dataset = ScanDataset(
        SemanticKittiReader(make_root({"00": 5}), sequences={"train": ["00"]}), "train", load_label_map("semantickitti")
    )
    options = {"batch_size": 2, "num_workers": 0, "pin_memory": False, "persistent_workers": True}
    batches = list(eval_loader(dataset, EvalSampler(5), **options))
    assert [s for b in batches for s in b.scan_ids] == [f"00/{frame:06d}" for frame in range(5)]
    assert [c for b in batches for c in b.point_counts.tolist()] == [400, 407, 414, 421, 428]
