"""Clusters against known subclasses, and recall by subclass, each against the formula written out."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch

from clusterseg.metrics import count_modes, homogeneity, information, mode_recall


def slow_homogeneity(pairs: list[tuple[int, int]]) -> float:
    """1 - H(mode | cluster) / H(mode) from single points (cluster, mode)."""
    n = len(pairs)
    modes, clusters, both = Counter(m for _, m in pairs), Counter(c for c, _ in pairs), Counter(pairs)
    whole = -sum(k / n * math.log(k / n) for k in modes.values())
    within = -sum(k / n * math.log(k / clusters[c]) for (c, _), k in both.items())
    return 1 - within / whole if whole else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_homogeneity_is_the_formula_over_points(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 9, (5, 3)) * (rng.random((5, 3)) < 0.6)
    pairs = [(c, m) for c in range(5) for m in range(3) for _ in range(table[c, m])]
    assert homogeneity(torch.from_numpy(table).double()).item() == pytest.approx(slow_homogeneity(pairs), abs=1e-12)


def test_the_permuted_value_is_the_mean_over_all_orders_of_the_things() -> None:
    counts, modes = torch.tensor([[9, 0, 4, 1], [0, 7, 1, 6]]), torch.tensor([0, 1, 0, 1])
    values = []
    for order in permutations(modes.tolist()):
        pairs = [(c, order[t]) for c in range(2) for t in range(4) for _ in range(int(counts[c, t]))]
        values.append(slow_homogeneity(pairs))
    found = information(counts, modes, permutations=4000)
    assert found.permuted == pytest.approx(np.mean(values), abs=0.02)
    assert found.beyond == found.homogeneity - found.permuted
    assert found.homogeneity == pytest.approx(values[list(permutations(modes.tolist())).index((0, 1, 0, 1))])


def test_pure_clusters_score_and_clusters_of_single_things_do_not() -> None:
    """40 pure clusters over 4 even modes; one cluster a thing knows as much about any modes of the things."""
    modes = torch.arange(400) % 4
    cluster = modes * 10 + torch.arange(400) // 4 % 10
    pure = torch.nn.functional.one_hot(cluster, 40).T
    assert information(pure, modes).beyond > 0.8
    single = information(torch.eye(400, dtype=torch.int64), modes)
    assert single.homogeneity == pytest.approx(1)
    assert single.beyond == pytest.approx(0, abs=1e-9)


def test_recall_counts_points_one_by_one() -> None:
    rng = np.random.default_rng(0)
    names, modes = ["car", "road"], {"car": ["van", "suv", "estate"], "road": ["new", "worn"]}
    targets, found = rng.choice([0, 1, 255], 500), rng.integers(0, 2, 500)
    mode = rng.integers(-1, 2, 500)
    args = [torch.from_numpy(array) for array in (found, targets, mode)]
    counts = count_modes(*args, torch.zeros(2, 3, 2, dtype=torch.int64))
    table = mode_recall(counts, names, modes)
    assert list(table) == names
    assert "estate" not in table["car"], "it has no point"
    for c, name in enumerate(names):
        for m, kind in enumerate(modes[name][:2]):
            own = (targets == c) & (mode == m)
            assert table[name][kind] == {"recall": (found[own] == c).mean(), "points": own.sum()}
