from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from slow_cluster import slow_sinkhorn

from clusterseg.cluster.sinkhorn import balanced_assignment

GOLDEN = [f"N{n}_cols40_selfK40" for n in (5, 6, 40, 100, 333, 2000)]
GOLDEN += ["N1000_cols10_selfK10", "N7_cols10_selfK10", "rand_N60_K40", "rand_N500_K10"]


def assign(scores: torch.Tensor, **kwargs):
    """One class, nothing masked."""
    full = torch.ones(1, scores.shape[0], dtype=torch.bool), torch.ones(1, scores.shape[1], dtype=torch.bool)
    result = balanced_assignment(scores[None], *full, **kwargs)
    return result.labels[0], result.marginal_error.item()


def cosines(kind: str, generator: torch.Generator) -> torch.Tensor:
    """Scores of 1..2,000 anchors against 1..40 clusters; in the last three kinds mass must cross wide gaps."""
    n = int(torch.randint(1, 2001, (), generator=generator))
    k = int(torch.randint(1, 41, (), generator=generator))
    anchors, centers = torch.randn(n, 64, generator=generator), torch.randn(k, 64, generator=generator)
    if kind == "positive":
        anchors, centers = anchors.relu(), centers.relu()
    if kind in ("modes", "opposite", "uneven"):
        modes = torch.randn(2 if kind == "opposite" else 4, 64, generator=generator)
        modes = torch.cat([modes[:1], -modes[:1]]) if kind == "opposite" else modes
        shares = torch.tensor([0.97, 0.01, 0.01, 0.01]) if kind == "uneven" else torch.ones(len(modes))
        anchors = modes[torch.multinomial(shares, n, True, generator=generator)] + 0.05 * anchors
        centers = modes[torch.randint(0, len(modes), (k,), generator=generator)] + 0.05 * centers
    return F.normalize(anchors, dim=1) @ F.normalize(centers, dim=1).T


@pytest.mark.parametrize("case", GOLDEN)
def test_assignments_equal_the_golden_ones_in_all_rows(case: str, shared) -> None:
    golden = np.load(shared / "golden" / "loss_sinkhorn.npz")
    labels, _ = assign(torch.from_numpy(golden[f"{case}::PS"]).double().log())
    assert labels.tolist() == golden[f"{case}::L"].tolist()


@pytest.mark.parametrize("kind", ["gaussian", "positive", "modes", "opposite", "uneven"])
def test_marginal_error_at_the_default_rounds(kind: str) -> None:
    generator = torch.Generator().manual_seed(7)
    worst = max(assign(cosines(kind, generator))[1] for _ in range(40))
    print(f"largest marginal error, {kind}: {worst:.1e}")
    assert worst <= 1e-3, f"largest relative marginal error over 40 {kind} cases: {worst:.1e}"


@pytest.mark.parametrize(("n", "k"), [(30, 4), (5, 12), (200, 17), (1, 6), (9, 1)])
def test_assignments_equal_plain_sinkhorn(n: int, k: int) -> None:
    generator = torch.Generator().manual_seed(n)
    scores = torch.randn(n, k, generator=generator, dtype=torch.float64) * 0.2
    labels, error = assign(scores)
    plan = slow_sinkhorn(scores.numpy(), 25.0)
    assert error < 1e-6
    assert n == 1 or labels.tolist() == plan.argmax(1).tolist()


def test_classes_of_different_sizes_do_not_disturb_each_other() -> None:
    generator = torch.Generator().manual_seed(3)
    sizes = [(50, 8), (7, 12), (0, 5), (33, 1), (20, 0)]
    scores = torch.randn(len(sizes), 50, 12, generator=generator) * 0.3
    anchors = torch.arange(50) < torch.tensor([n for n, _ in sizes])[:, None]
    clusters = torch.arange(12) < torch.tensor([k for _, k in sizes])[:, None]
    batched = balanced_assignment(scores, anchors, clusters)
    assert batched.marginal_error.isfinite().all()
    for i, (n, k) in enumerate(sizes):
        if n and k:
            alone, error = assign(scores[i, :n, :k])
            assert batched.labels[i, :n].tolist() == alone.tolist()
            assert error <= 1e-6
            assert batched.marginal_error[i] <= 1e-6


def test_release_setting_that_overflowed_stays_finite() -> None:
    """Fewer anchors than clusters, and far apart: 40 rows were asked for where a class has 10 (defect 1)."""
    scores = torch.full((3, 40), -1.0)
    scores[0, 0] = scores[1, 1] = scores[2, 2] = 1.0
    labels, error = assign(scores)
    assert error <= 1e-3
    assert labels.tolist() == [0, 1, 2]


def test_anchors_all_alike_are_finite() -> None:
    labels, error = assign(torch.linspace(-1, 1, 40).expand(100, 40))
    assert error <= 1e-3
    assert ((labels >= 0) & (labels < 40)).all()


def test_an_even_spread_is_kept() -> None:
    """Four modes with one centre each: the balanced assignment is the obvious one, evenly used."""
    labels, _ = assign(torch.eye(4).repeat(25, 1))
    assert labels.tolist() == list(range(4)) * 25


def test_a_lone_anchor_goes_to_the_nearest_centre() -> None:
    scores = torch.rand(50, 1, 40, generator=torch.Generator().manual_seed(0)).double()
    for noise in (0.0, 1e-12):
        shifted = scores * (1 + noise)
        got = balanced_assignment(shifted, torch.ones(50, 1, dtype=torch.bool), torch.ones(50, 40, dtype=torch.bool))
        assert torch.equal(got.labels, scores.argmax(-1))
