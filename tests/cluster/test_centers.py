from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from clusterseg.cluster.centers import Centers, move_centers, pick_seeds


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def members(labels: torch.Tensor, clusters: int) -> torch.Tensor:
    """Membership of a (classes, anchors) table; -1 for no anchor."""
    return labels[..., None] == torch.arange(clusters)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.9999])
def test_moves_as_the_formula_says(momentum: float) -> None:
    vectors, x = unit(3, 4, 5), unit(3, 20, 5, seed=1)
    labels = torch.randint(-1, 4, (3, 20), generator=torch.Generator().manual_seed(2))
    labels[labels == 3] = -1
    moved = move_centers(vectors, x, members(labels, 4), momentum)
    for c in range(3):
        for k in range(4):
            own = x[c][labels[c] == k].double()
            expected = vectors[c, k].double()
            if len(own):
                expected = F.normalize(momentum * expected + (1 - momentum) * own.mean(0), dim=0)
            assert torch.allclose(moved[c, k].double(), expected, atol=1e-6)


def test_opposite_anchors_leave_the_center() -> None:
    vectors = unit(1, 1, 5)
    x = torch.stack([vectors[:, 0], -vectors[:, 0]], dim=1)
    assert torch.equal(move_centers(vectors, x, members(torch.zeros(1, 2), 1), 0.0), vectors)


@pytest.mark.parametrize(("vacancies", "anchors"), [(4, 9), (4, 4), (4, 2), (1, 9), (0, 9), (4, 0)])
def test_seeds_are_different_anchors_of_the_class(vacancies: int, anchors: int) -> None:
    vacant = (torch.arange(6) >= 6 - vacancies)[None]
    present = torch.zeros(1, 12, dtype=torch.bool)
    present[0, torch.randperm(12, generator=torch.Generator().manual_seed(0))[:anchors]] = True
    fresh, anchor = pick_seeds(vacant, present)
    chosen = anchor[fresh]
    assert len(chosen) == len(chosen.unique()) == min(vacancies, anchors)
    assert present[0, chosen].all()
    assert vacant[fresh].all()


def test_padding_is_never_seeded_or_used() -> None:
    centers = Centers([2, 5], dim=3, momentum=0.9, reseed_after=0)
    fresh = centers.seed(unit(2, 9, 3), torch.ones(2, 9, dtype=torch.bool))
    assert fresh.sum(1).tolist() == [2, 5]
    assert (centers.vectors[0, 2:] == 0).all()


def test_seeds_are_the_embeddings_themselves() -> None:
    x = unit(1, 3, 4)
    centers = Centers([5], dim=4, momentum=0.9, reseed_after=0)
    centers.seed(x, torch.ones(1, 3, dtype=torch.bool))
    assert torch.equal(centers.vectors[0, :3], x[0])
    assert centers.seeded.tolist() == [[True, True, True, False, False]]


def test_an_idle_center_falls_vacant_only_while_its_class_is_seen() -> None:
    centers = Centers([2, 2], dim=4, momentum=0.9, reseed_after=3)
    centers.seed(unit(2, 4, 4), torch.ones(2, 4, dtype=torch.bool))
    only_first = members(torch.tensor([[0, 0, 0, 0], [-1, -1, -1, -1]]), 2)
    for _ in range(3):
        assert centers.seeded.all()
        centers.update(unit(2, 4, 4), only_first)
    assert centers.seeded.tolist() == [[True, False], [True, True]]
    assert centers.used().tolist() == [1, 2]
    fresh = centers.seed(unit(2, 4, 4, seed=9), torch.ones(2, 4, dtype=torch.bool))
    assert fresh.tolist() == [[False, True], [False, False]]


def test_drift_is_the_cosine_distance_moved() -> None:
    centers = Centers([1], dim=2, momentum=0.0, reseed_after=0)
    centers.seed(torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, dtype=torch.bool))
    drift = centers.update(torch.tensor([[[0.0, 1.0]]]), torch.ones(1, 1, 1, dtype=torch.bool))
    assert drift.item() == pytest.approx(1.0)
