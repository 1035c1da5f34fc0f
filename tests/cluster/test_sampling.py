from __future__ import annotations

import pytest
import torch

from clusterseg.cluster.sampling import group_quotas, sample_anchors, voxel_keys


def draw(labels, predictions, per_class=8, total=None, step=0, classes=5):
    return sample_anchors(labels, predictions, classes, per_class, total, 0, torch.tensor(step))


def voxels(counts: list[tuple[int, int]], ignored: int = 7, seed: int = 0):
    """(hard, easy) voxels of each class and some without a label, shuffled."""
    labels, predictions = [], []
    for c, (hard, easy) in enumerate(counts):
        labels += [c] * (hard + easy)
        predictions += [c + 1] * hard + [c] * easy
    labels, predictions = torch.tensor(labels + [255] * ignored), torch.tensor(predictions + [0] * ignored)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return labels[order], predictions[order]


COUNTS = [(30, 40), (2, 50), (60, 1), (0, 0), (3, 2)]


@pytest.mark.parametrize("per_class", [1, 2, 7, 8, 200])
def test_half_hard_half_easy_with_fill_up(per_class: int) -> None:
    labels, predictions = voxels(COUNTS)
    anchors = draw(labels, predictions, per_class)
    for c, (hard, easy) in enumerate(COUNTS):
        own = anchors.valid & (anchors.class_id == c)
        got_hard = int((anchors.hard & own).sum())
        got_easy = int((~anchors.hard & own).sum())
        assert got_hard + got_easy == min(per_class, hard + easy)
        assert got_hard >= min(hard, per_class // 2)
        assert got_easy >= min(easy, per_class // 2)


def test_anchors_are_what_they_say() -> None:
    labels, predictions = voxels(COUNTS)
    anchors = draw(labels, predictions)
    rows = anchors.index[anchors.valid]
    assert len(rows.unique()) == len(rows)
    assert torch.equal(labels[rows], anchors.class_id[anchors.valid])
    assert torch.equal(labels[rows] != predictions[rows], anchors.hard[anchors.valid])
    assert anchors.present.sum() == anchors.valid.sum()
    slots = anchors.slots[anchors.present]
    assert torch.equal(slots.sort().values, torch.arange(len(rows)))
    assert torch.equal(anchors.class_id[slots], anchors.present.nonzero()[:, 0])
    cells = torch.arange(anchors.present.numel()).view_as(anchors.present)
    assert torch.equal(anchors.cell[slots], cells[anchors.present])


def test_a_total_is_shared_by_the_classes_present() -> None:
    labels, predictions = voxels(COUNTS)
    anchors = draw(labels, predictions, per_class=100, total=33)
    per_class = torch.bincount(anchors.class_id[anchors.valid], minlength=5)
    assert len(anchors.valid) == 33
    assert per_class.tolist() == [8, 8, 8, 0, 5]


@pytest.mark.parametrize("labels", [[], [255], [255] * 9, [-1, 5, 200]])
def test_no_valid_label(labels: list[int]) -> None:
    anchors = draw(torch.tensor(labels, dtype=torch.int64), torch.zeros(len(labels), dtype=torch.int64))
    assert not anchors.valid.any()
    assert not anchors.present.any()


def test_every_voxel_is_equally_likely_and_steps_differ() -> None:
    """40 of 400 voxels in each of 400 steps: each voxel about 40 times, give or take six standard deviations."""
    labels = torch.zeros(400, dtype=torch.int64)
    hits = torch.zeros(400)
    for step in range(400):
        anchors = draw(labels, labels, per_class=40, step=step, classes=1)
        hits[anchors.index[anchors.valid]] += 1
    assert hits.sum() == 400 * 40
    assert (hits - 40).abs().max() < 6 * (400 * 0.1 * 0.9) ** 0.5


def test_first_anchors_of_a_class_are_no_harder_than_the_rest() -> None:
    """The bank stores the first few of a subclass: the order must not put one kind in front."""
    labels, predictions = voxels([(500, 500)])
    early = [draw(labels, predictions, 100, step=s, classes=1).hard[:20].float().mean() for s in range(50)]
    assert 0.45 < torch.stack(early).mean() < 0.55


def test_large_batches_fill_every_quota() -> None:
    """The threshold that spares the sort must leave enough candidates, at the largest scans."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 19, (320_000,), generator=generator)
    predictions = torch.where(torch.rand(320_000, generator=generator) < 0.3, 0, labels)
    for step in range(20):
        anchors = draw(labels, predictions, per_class=128, step=step, classes=19)
        assert anchors.valid.all()
        hard = torch.bincount(anchors.class_id[anchors.hard], minlength=19)
        assert hard.tolist() == [0] + [64] * 18


def test_keys_are_distinct_and_uniform() -> None:
    keys = voxel_keys(200_000, torch.tensor(12_345), 3, torch.tensor(77))
    assert len(keys.unique()) == 200_000
    share = torch.bincount(keys >> 28, minlength=16) / 200_000
    assert (share - 1 / 16).abs().max() < 0.004


def test_keys_continue_over_the_joint_batch() -> None:
    whole = voxel_keys(100, torch.tensor(0), 3, torch.tensor(5))
    assert torch.equal(whole[60:], voxel_keys(40, torch.tensor(60), 3, torch.tensor(5)))


@pytest.mark.parametrize(("hard", "easy", "expected"), [(9, 9, (3, 4)), (1, 9, (1, 6)), (9, 2, (5, 2)), (0, 0, (0, 0))])
def test_quotas_of_seven(hard: int, easy: int, expected: tuple[int, int]) -> None:
    assert tuple(group_quotas(torch.tensor([[hard, easy]]), 7, None)[0].tolist()) == expected
