from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch
from fake_scans import random_points

from clusterseg.data.batch import Batch, collate
from clusterseg.data.sample import Sample, build_sample


def samples(keep_points: bool = False) -> list[Sample]:
    return [
        build_sample(random_points(n, n, 1.0), np.arange(n), f"00/{n:06d}", keep_points=keep_points)
        for n in (900, 1, 400)
    ]


def test_each_scan_can_be_taken_out_again() -> None:
    given = samples(keep_points=True)
    batch = collate(given)
    assert batch.num_scans == 3 and batch.scan_ids == ("00/000900", "00/000001", "00/000400")
    assert batch.point_counts.tolist() == [900, 1, 400]
    voxels = torch.bincount(batch.coords[:, 0]).tolist()
    assert voxels == [len(s.coords) for s in given]
    assert batch.points is not None
    points = batch.point_counts.tolist()
    for index, sample in enumerate(given):
        rows = batch.coords[:, 0] == index
        coords = batch.coords.split(voxels)[index]
        assert torch.equal(batch.coords[rows], coords)
        np.testing.assert_array_equal(coords[:, 1:], sample.coords)
        np.testing.assert_array_equal(batch.feats.split(voxels)[index], sample.feats)
        np.testing.assert_array_equal(batch.targets.split(voxels)[index], sample.targets)
        np.testing.assert_array_equal(batch.points.split(points)[index], sample.points)
        np.testing.assert_array_equal(batch.point_targets.split(points)[index], sample.point_targets)
        there_and_back = batch.coords[batch.inverse_map.split(points)[index]]
        np.testing.assert_array_equal(there_and_back[:, 1:], sample.coords[sample.inverse_map])
        assert (there_and_back[:, 0] == index).all()


def test_types() -> None:
    batch = collate(samples())
    assert batch.coords.dtype == torch.int32 and batch.feats.dtype == torch.float32
    for name in ("targets", "inverse_map", "point_targets", "point_counts"):
        assert getattr(batch, name).dtype == torch.int64
    assert batch.points is None
    assert batch.coords.is_contiguous()


def test_moving_leaves_the_counts_on_the_cpu() -> None:
    batch = collate([*samples(keep_points=True), with_context()])
    moved = batch.to("meta")
    assert isinstance(moved, Batch) and moved is not batch
    devices = {f.name: x.device.type for f in fields(moved) if isinstance(x := getattr(moved, f.name), torch.Tensor)}
    on_cpu = {name for name, device in devices.items() if device == "cpu"}
    assert on_cpu == {"point_counts", "context", "context_counts"}
    assert moved.scan_ids == batch.scan_ids
    assert batch.to("cpu", non_blocking=True).points is not None


def with_context() -> Sample:
    return build_sample(random_points(50, 9), None, "00/000009", keep_points=True, num_points=30)


def test_context_has_voxels_but_is_none_of_the_points() -> None:
    alone = samples(keep_points=True)
    batch = collate([alone[0], with_context(), alone[1]])
    assert batch.context_counts is not None and batch.context_counts.tolist() == [0, 20, 0]
    assert batch.point_counts.tolist() == [len(alone[0].inverse_map), 30, len(alone[1].inverse_map)]
    assert batch.context is not None and batch.points is not None
    np.testing.assert_array_equal(batch.points.split(batch.point_counts.tolist())[1], random_points(50, 9)[:30])
    np.testing.assert_array_equal(batch.context, random_points(50, 9)[30:])
    whole = build_sample(random_points(50, 9), None, "00/000009", num_points=None)
    rows = batch.coords[batch.coords[:, 0] == 1]
    np.testing.assert_array_equal(rows[:, 1:], whole.coords)
    assert collate(alone).context is None and collate(alone).context_counts is None


def test_is_frozen() -> None:
    with pytest.raises(AttributeError):
        collate(samples()).feats = torch.zeros(1, 4)  # type: ignore[misc]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory needs a GPU")
def test_pinned_memory() -> None:
    batch = collate(samples()).pin_memory()
    assert batch.feats.is_pinned() and batch.inverse_map.is_pinned()
