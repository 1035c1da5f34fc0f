"""What is built before the layers run: afterwards the host need not wait for a GPU between them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from scenes import scene
from tiny import write_control

from benchmarks.gpu.waits import Waits, operators
from clusterseg.backbone import SPVNAS
from clusterseg.backbone.unet import SparseUNet
from clusterseg.sparse import build_ahead, sparse_tensor
from clusterseg.sparse.segments import _group_on_device, group_rows


@pytest.fixture
def network(tmp_path: Path) -> SPVNAS:
    torch.manual_seed(0)
    return SPVNAS(write_control(tmp_path / "net.config"), num_classes=3)


@pytest.mark.parametrize("training", [True, False])
def test_nothing_waits_once_the_maps_are_built(
    network: SPVNAS, monkeypatch: pytest.MonkeyPatch, training: bool
) -> None:
    coords, found = scene("batches"), Waits()
    feats = torch.randn(len(coords), 4)
    before: list[int] = []
    encode = SparseUNet.encode

    def watched(self: SparseUNet, x):  # type: ignore[no-untyped-def]
        x.grid.build(5)
        before.append(found.total)
        return encode(self, x)

    monkeypatch.setattr(SparseUNet, "encode", watched)
    network.train(training)
    with torch.set_grad_enabled(training), operators(found):
        logits = network(feats, coords).logits
        if training:
            logits.sum().backward()
    assert before[0] > 5, "the count works"
    assert found.total == before[0], found.by_cause


def test_what_is_built_ahead_is_used_and_dropped(network: SPVNAS) -> None:
    coords = scene("batches")
    feats = torch.randn(len(coords), 4)
    x, _ = sparse_tensor(feats, coords)
    build_ahead(x.grid, (16, 4))
    assert {stride for _, stride in x.grid.ahead} == {4, 16}
    grids = []
    network.register_forward_hook(lambda *_: None)
    original = SparseUNet.encode
    try:
        SparseUNet.encode = lambda self, x: grids.append(x.grid) or original(self, x)  # type: ignore[method-assign]
        network(feats, coords)
    finally:
        SparseUNet.encode = original  # type: ignore[method-assign]
    assert grids[0].ahead == {}


@pytest.mark.parametrize(("rows", "voxels"), [(0, 3), (1, 1), (200, 40), (200, 1000)])
def test_groups_by_searching(rows: int, voxels: int) -> None:
    voxel = torch.randint(0, voxels, (rows,), generator=torch.Generator().manual_seed(0))
    for got, want in zip(_group_on_device(voxel, voxels), group_rows(voxel, voxels), strict=True):
        assert torch.equal(got, want)
        assert got.dtype == want.dtype
