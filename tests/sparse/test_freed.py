"""A batch's grid and maps are freed as soon as nobody uses them, without the garbage collector."""

from __future__ import annotations

import gc
import weakref

import torch

from clusterseg.sparse import Conv3d, sparse_tensor


def test_a_pass_leaves_no_cycle() -> None:
    coords = torch.unique(torch.randint(-20, 20, (500, 4)).int().clamp(min=0), dim=0)
    down, up = Conv3d(4, 4, 2, 2), Conv3d(4, 4, 2, 2, transposed=True)
    same = Conv3d(4, 4)
    gc.disable()
    try:
        x, _ = sparse_tensor(torch.randn(len(coords), 4, requires_grad=True), coords)
        y = up(down(same(x)))
        y.feats.square().sum().backward()
        watched = [weakref.ref(x.grid), weakref.ref(x.grid.submanifold(1)), weakref.ref(x.grid.down(1))]
        watched += [weakref.ref(x.grid.down(1).transposed)]
        del x, y
        assert [ref() for ref in watched] == [None] * 4
    finally:
        gc.enable()
