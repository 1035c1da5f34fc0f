"""Batches out of loader processes, whether shared memory has room for them or not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from clusterseg.data import transport
from clusterseg.data.batch import Batch, collate
from clusterseg.data.dataset import ScanDataset
from clusterseg.data.label_map import load_label_map
from clusterseg.data.loader import eval_loader
from clusterseg.data.sampler import EvalSampler
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.data.transport import PipedBatch, collate_and_send, receive
from clusterseg.data.watch import living_workers

MakeRoot = Callable[..., Path]
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
OPTIONS = {"batch_size": 2, "pin_memory": False, "persistent_workers": False}


@pytest.fixture
def dataset(make_root: MakeRoot) -> ScanDataset:
    reader = SemanticKittiReader(make_root({"00": 5}), sequences={"train": ["00"]})
    return ScanDataset(reader, "train", load_label_map("semantickitti"), keep_points=True)


def assert_same(first: Batch, second: Batch) -> None:
    for field in fields(Batch):
        one, other = getattr(first, field.name), getattr(second, field.name)
        same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
        assert same, field.name


@pytest.mark.parametrize("room", [0, 10**12])
def test_a_worker_takes_the_way_that_has_room(
    dataset: ScanDataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, room: int
) -> None:
    alone = list(eval_loader(dataset, EvalSampler(5), num_workers=0, **OPTIONS))
    monkeypatch.setattr(transport, "_room", lambda: room)
    transport.tell_of_pipes.cache_clear()
    with caplog.at_level(logging.WARNING):
        batches = list(eval_loader(dataset, EvalSampler(5), num_workers=2, **OPTIONS))
    assert len(batches) == len(alone) == 3
    for one, other in zip(batches, alone, strict=True):
        assert_same(one, other)
    assert caplog.text.count("shm-size") == (room == 0), "once, and only where it is short"
    assert not living_workers()


def test_room_that_is_gone_when_it_is_taken(dataset: ScanDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    samples = [dataset[0], dataset[1]]
    monkeypatch.setattr(transport, "get_worker_info", lambda: SimpleNamespace(num_workers=1))
    monkeypatch.setattr(transport, "_room", lambda: 10**12)
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    sent = collate_and_send(samples)
    assert isinstance(sent, PipedBatch)
    assert_same(receive(sent), collate(samples))
