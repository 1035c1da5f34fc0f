from __future__ import annotations

from collections import deque

import pytest
import torch

from clusterseg.cluster.bank import Bank


def fill_like_deques(bank: Bank, rings: list[deque], x, subclass, valid) -> None:
    pushed = [0] * len(rings)
    for vector, s, ok in zip(x, subclass.tolist(), valid.tolist(), strict=True):
        if ok and pushed[s] < bank.push:
            rings[s].append(vector)
            pushed[s] += 1


@pytest.mark.parametrize(("subclasses", "size", "push"), [(1, 1, 1), (3, 5, 2), (7, 4, 4), (5, 50, 10)])
def test_equals_a_deque_for_each_subclass(subclasses: int, size: int, push: int) -> None:
    generator = torch.Generator().manual_seed(size)
    bank, rings = Bank(subclasses, size, push, 3), [deque(maxlen=size) for _ in range(subclasses)]
    for step in range(40):
        count = int(torch.randint(0, 60, (), generator=generator))
        x = torch.randn(count, 3, generator=generator)
        subclass = torch.randint(0, subclasses, (count,), generator=generator)
        valid = torch.rand(count, generator=generator) > 0.3
        bank.update(x, subclass, valid)
        fill_like_deques(bank, rings, x, subclass, valid)
        if step == 20:
            bank.clear(torch.arange(subclasses) == 0)
            rings[0].clear()
        for s, ring in enumerate(rings):
            stored = bank.vectors[s][bank.written[s]]
            assert sorted(map(tuple, stored.tolist())) == sorted(tuple(v.tolist()) for v in ring)
    assert (bank.vectors[~bank.written] == 0).all()
    assert (bank.rows[-1] == 0).all()


def test_starts_empty() -> None:
    assert not Bank(4, 5, 2, 3).written.any()
