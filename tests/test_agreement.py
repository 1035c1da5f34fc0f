"""Agreement of partitions against a count over all pairs of points."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch

from clusterseg.metrics import agreement


def slow_adjusted_rand(a: list[int], b: list[int]) -> float:
    """Pair counting, written out."""
    same_a = same_b = both = 0
    for i, j in combinations(range(len(a)), 2):
        same_a += a[i] == a[j]
        same_b += b[i] == b[j]
        both += a[i] == a[j] and b[i] == b[j]
    pairs = len(a) * (len(a) - 1) / 2
    expected = same_a * same_b / pairs
    return (both - expected) / ((same_a + same_b) / 2 - expected)


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_agreement_equals_a_count_of_pairs(noise: float) -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 4, 300)
    clusters = np.where(rng.random(300) < noise, rng.integers(0, 7, 300), truth)
    table = torch.zeros(7, 4, dtype=torch.int64)
    np.add.at(table.numpy(), (clusters, truth), 1)
    found = agreement(table)
    assert found.ari == pytest.approx(slow_adjusted_rand(clusters.tolist(), truth.tolist()), abs=1e-12)
    majority = sum(np.bincount(truth[clusters == c]).max() for c in np.unique(clusters))
    assert found.purity == pytest.approx(majority / 300)
    assert found.purity_of_one == pytest.approx(np.bincount(truth).max() / 300)
    assert found.points == 300
    assert (found.ari == 1.0) is (noise == 0.0)
