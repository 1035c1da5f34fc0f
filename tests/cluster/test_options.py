"""Each option of the head against what it says, written out slowly; and what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from slow_cluster import slow_contrast, slow_sinkhorn

from clusterseg.cluster import ClusterHead
from clusterseg.cluster.assignment import Members, most_wanted, nearest
from clusterseg.cluster.bank import Bank
from clusterseg.cluster.centers import Centers, pick_seeds, twins
from clusterseg.cluster.contrast import bank_contrast, contrast
from clusterseg.cluster.places import cells, in_scans, random_clusters, things_or_cells
from clusterseg.cluster.sampling import sample_anchors, voxel_keys
from clusterseg.cluster.terms import Terms, distance_loss, prototype_loss
from clusterseg.errors import UserError

NAMES = ["car", "person", "road", "pole"]


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def head(**settings) -> ClusterHead:
    torch.manual_seed(0)
    small = {"clusters_per_class": 3, "projection": (), "anchors_per_class": 24, "ramp_steps": 0}
    return ClusterHead.default(6, NAMES, **{**small, "bank_size": 8, "bank_push": 4, **settings})


def batch(step: int, voxels: int = 300):
    generator = torch.Generator().manual_seed(step)
    features = torch.randn(voxels, 6, generator=generator)
    labels = torch.randint(0, 5, (voxels,), generator=generator)
    labels[labels == 4] = 255
    asked = {
        "scans": torch.randint(0, 2, (voxels,), generator=generator),
        "xyz": 20 * torch.rand(voxels, 3, generator=generator) - 10,
        "things": torch.randint(0, 9, (voxels,), generator=generator),
        "modes": torch.randint(-1, 3, (voxels,), generator=generator),
        "other": features + 0.3 * torch.randn(voxels, 6, generator=generator),
    }
    return features, labels, torch.randint(0, 4, (voxels,), generator=generator), asked


def step(head: ClusterHead, number: int):
    features, labels, predictions, asked = batch(number)
    features.requires_grad_()
    output = head(features, labels, predictions, **{name: asked[name] for name in head.asks})
    sum(output.losses.values()).backward()
    assert all(value.isfinite() for value in (*output.losses.values(), *output.stats.values()))
    assert features.grad is not None and features.grad.isfinite().all()
    return output, features.grad


# same_class_negatives


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_weighted_negatives_equal_the_sum_written_out(weight: float) -> None:
    """By repetition: a weight of 1/4 is one negative where others count four times."""
    x, others = unit(9, 5), unit(12, 5, seed=1)
    subclass, ids = torch.arange(9) % 6, torch.arange(12) % 6
    same, relatives = subclass[:, None] == ids, subclass[:, None] // 3 == ids // 3
    weights = (~same).float() * torch.where(relatives, weight, 1.0)
    x.requires_grad_()
    loss = contrast(x, others, same, weights, 0.1, 2.0)
    times = 4
    many = np.repeat(others.numpy(), times, axis=0)
    positives = np.zeros((9, 12 * times), bool)
    negatives = np.zeros((9, 12 * times), bool)
    for i in range(9):
        for j in range(12):
            positives[i, j * times] = same[i, j]
            negatives[i, j * times : j * times + round(times * float(weights[i, j]))] = True
    tau = 0.1
    terms = []
    for i in range(9):
        logits = [float(np.dot(x[i].detach().numpy(), b)) / tau for b in many]
        repulsion = sum(math.exp(v) for v, n in zip(logits, negatives[i], strict=True) if n) / times
        own = [v - math.log(math.exp(v) + repulsion) for v, p in zip(logits, positives[i], strict=True) if p]
        terms.append(-tau / 2.0 * sum(own) / len(own))
    assert loss.item() == pytest.approx(sum(terms) / len(terms), abs=1e-6)
    # The gradient, and the same through the bank: 6 subclasses of 2 vectors, in 2 classes of 3.
    loss.backward()
    grad, x.grad = x.grad.clone(), None
    bank = torch.stack([others[ids == s] for s in range(6)])
    told = bank_contrast(
        x, torch.ones(9, dtype=torch.bool), subclass, bank, torch.ones(6, 2).bool(), 0.1, 2.0, (3, weight)
    )
    told.backward()
    assert told.item() == pytest.approx(loss.item(), abs=1e-6)
    assert torch.allclose(x.grad, grad, atol=1e-5)
    exact = x.detach().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: contrast(a, others.double(), same, weights.double(), 0.1, 2.0), exact)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_long_rings_equal_the_general_contrast(weight: float) -> None:
    """As of one cluster a class: rings too long to be copied for each anchor, some rows not written."""
    x, size = unit(20, 6).requires_grad_(), 300
    bank, written = unit(4, size, 6, seed=2), torch.rand(4, size, generator=torch.Generator().manual_seed(0)) < 0.8
    bank = torch.where(written[..., None], bank, 0.0)
    subclass, ids = torch.arange(20) % 4, torch.arange(4).repeat_interleave(size)
    same, relatives = subclass[:, None] == ids, subclass[:, None] // 2 == ids // 2
    there = written.flatten()
    negatives = (~same & there) * torch.where(relatives, weight, 1.0)
    expected = contrast(x, bank.flatten(0, 1), same & there, negatives, 0.1, 2.0)
    (grad,) = torch.autograd.grad(expected, x)
    valid = torch.ones(20, dtype=torch.bool)
    found = bank_contrast(x, valid, subclass, bank, written, 0.1, 2.0, (2, weight))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(torch.autograd.grad(found, x)[0], grad, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_terms_equal_contrasts_with_all_pairs_in_masks(weight: float) -> None:
    """Values and gradients; a class that is not there has centres, which do not count, and some anchors are invalid."""
    classes, clusters, each = 4, 3, 5
    centers, bank = Centers([clusters] * classes, 6, 0.9, 100), Bank(classes * clusters, 2, 1, 6)
    centers.vectors.copy_(unit(classes, clusters, 6, seed=1))
    centers.seeded.fill_(True)[0, 2] = False
    draw = torch.Generator().manual_seed(0)
    cluster = torch.randint(0, clusters, (classes, each), generator=draw)
    valid = torch.rand(classes, each, generator=draw) < 0.8
    valid[3] = False
    x = unit(classes * each, 6, seed=2).double().requires_grad_()
    subclass = (torch.arange(classes)[:, None] * clusters + cluster).flatten()
    membership = F.one_hot(cluster, clusters).bool() & valid[..., None]
    table = x.detach().view(classes, each, 6)
    members = Members(x, valid.flatten(), subclass, table, membership, torch.zeros(classes))
    centers, bank = centers.double(), bank.double()
    found = Terms({"point_point": 1.0, "point_center": 1.0}, 0.1, 2.0, weight)(members, centers, bank)
    ids = torch.arange(classes * clusters)
    there = centers.seeded.flatten() & (ids // clusters != 3)
    for name, others, other_ids, usable in (
        ("point_point", x, subclass, valid.flatten()),
        ("point_center", centers.vectors.flatten(0, 1), ids, there),
    ):
        same, pairs = subclass[:, None] == other_ids, valid.flatten()[:, None] & usable
        itself = torch.eye(len(x), dtype=torch.bool) if name == "point_point" else torch.zeros_like(same)
        relatives = subclass[:, None] // clusters == other_ids // clusters
        negatives = (~same & pairs) * torch.where(relatives, weight, 1.0).double()
        expected = contrast(x, others, same & pairs & ~itself, negatives, 0.1, 2.0)
        assert expected.item() > 1e-3
        assert found[name].item() == pytest.approx(expected.item(), abs=1e-12)
        grads = [torch.autograd.grad(loss, x)[0] for loss in (found[name], expected)]
        assert torch.allclose(*grads, atol=1e-12), name


def test_neutral_relatives_do_not_repel() -> None:
    """With weight 0 an anchor feels only other classes: alone in its class, it is pulled and not pushed."""
    lone, full = head(same_class_negatives=0.0), head()
    for number in range(3):
        features, labels, predictions, _ = batch(number)
        labels = torch.where(labels == 255, 255, 1)
        losses = [each(features, labels, predictions).losses for each in (lone, full)]
    assert all(value < 1e-6 for value in losses[0].values()), "log p is 0 where nothing repels"
    assert all(value > 1e-3 for value in losses[1].values())


# assignment: queue, nearest, bounds


def test_the_queue_is_the_newest_of_each_ring() -> None:
    bank = Bank(3, 5, 2, 4)
    pushed: list[list[torch.Tensor]] = [[], [], []]
    for number in range(7):
        x, subclass = unit(6, 4, seed=number), torch.tensor([0, 0, 0, 1, 1, 2]) if number > 4 else torch.zeros(6).long()
        bank.update(x, subclass, torch.ones(6, dtype=torch.bool))
        for s in range(3):
            pushed[s] += list(x[subclass == s][:2])
    vectors, there = bank.latest(4)
    for s in range(3):
        expected = pushed[s][::-1][:4]
        assert there[s].tolist() == [i < len(expected) for i in range(4)]
        for found, value in zip(vectors[s], expected, strict=False):
            assert torch.equal(found, value)


def test_queue_balances_step_and_bank_together() -> None:
    features, labels, predictions, _ = batch(50)
    aware = head(assignment="queue", queue_rows=8, update_from="all")
    for number in range(4):
        step(aware, number)
    sample = sample_anchors(labels, predictions, 4, 24, None, aware.draw.seed, aware.step.clone())
    centers, bank = aware.centers.vectors.clone(), aware.bank.vectors.unflatten(0, (4, 3)).clone()
    written = aware.bank.written.unflatten(0, (4, 3)).clone()
    before = aware.bank.count.clone()
    aware(features, labels, predictions)
    alone = []
    for c in range(4):
        rows = sample.index[sample.valid & (sample.class_id == c)]
        x = F.normalize(features[rows], dim=1)
        queue = bank[c][written[c]]
        plan = slow_sinkhorn((torch.cat([x, queue]) @ centers[c].T).double().numpy(), 25.0, 2000)
        expected = np.bincount(plan.argmax(1)[: len(x)], minlength=3)
        own = slow_sinkhorn((x @ centers[c].T).double().numpy(), 25.0, 2000)
        alone.append(np.bincount(own.argmax(1), minlength=3).tolist() != expected.tolist())
        pushed = (aware.bank.count - before).view(4, 3)[c]
        assert pushed.tolist() == np.minimum(expected, 4).tolist()
    assert any(alone), "or the queue would make no difference here"


def test_nearest_takes_the_nearest_seeded_centre() -> None:
    scores = torch.rand(3, 20, 5, generator=torch.Generator().manual_seed(0))
    seeded = torch.rand(3, 5, generator=torch.Generator().manual_seed(1)) < 0.7
    seeded[:, 0] = True
    found = nearest(scores, torch.ones(3, 20, dtype=torch.bool), seeded).labels
    for c in range(3):
        for i in range(20):
            best = max((scores[c, i, k].item(), k) for k in range(5) if seeded[c, k])
            assert found[c, i] == best[1]


@pytest.mark.parametrize(("anchors", "bound", "left"), [(20, 3, 5), (9, 3, 3), (2, 3, 1), (20, 0, 5), (7, 2, 3)])
def test_the_clusters_balanced_are_those_most_wanted(anchors: int, bound: int, left: int) -> None:
    scores = torch.rand(1, 20, 5, generator=torch.Generator().manual_seed(anchors))
    present = (torch.arange(20) < anchors)[None]
    active = most_wanted(scores, present, torch.ones(1, 5, dtype=torch.bool), bound)[0]
    assert active.sum() == left
    votes = [sum(int(scores[0, i].argmax()) == k for i in range(anchors)) for k in range(5)]
    ranked = sorted(range(5), key=lambda k: (-votes[k], k))[:left]
    assert sorted(active.nonzero()[:, 0].tolist()) == sorted(ranked)


def test_alike_points_of_a_small_class_stay_together() -> None:
    """Six near-identical points and 3 clusters: a balance over all splits them, and they repel each other."""
    used = {}
    for bound in (0, 3):
        each = head(clusters_per_class=6, anchors_per_cluster=bound)
        features = torch.ones(6, 6) + 0.001 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
        for _ in range(4):
            before = each.bank.count.clone()
            each(features, torch.zeros(6).long(), torch.zeros(6).long())
        used[bound] = int((each.bank.count > before).sum())
    assert used[3] <= 2 < used[0]


def test_seeds_are_bounded_too() -> None:
    present = torch.arange(10)[None] < 7
    fresh, _ = pick_seeds(torch.ones(1, 6, dtype=torch.bool), present, 3)
    assert fresh.sum() == 2
    assert pick_seeds(torch.ones(1, 6, dtype=torch.bool), torch.arange(10)[None] < 2, 3)[0].sum() == 1


# adaptive number of clusters


def test_twins_are_later_centres_near_an_earlier_one() -> None:
    vectors = unit(2, 7, 3)
    vectors[0, 4] = F.normalize(vectors[0, 1] + 0.01, dim=0)
    seeded = torch.ones(2, 7, dtype=torch.bool)
    seeded[1, 3] = False
    found = twins(vectors, seeded, 0.9)
    for c in range(2):
        for k in range(7):
            near = [j for j in range(k) if seeded[c, j] and float(vectors[c, j] @ vectors[c, k]) >= 0.9]
            assert found[c, k] == bool(near and seeded[c, k])
    assert found[0, 4]


def test_the_number_of_clusters_follows_the_data() -> None:
    """Three modes in one class, one in another: as many centres, of 8 that there may be; fixed, all 8 are used."""
    modes = unit(3, 16, seed=5)
    counts = {}
    for merge in (0.8, None):
        torch.manual_seed(0)
        each = ClusterHead.default(
            16, ["a", "b"], projection=(), clusters_per_class=8, assignment="nearest", merge_above=merge, momentum=0.9
        )
        for number in range(30):
            generator = torch.Generator().manual_seed(number)
            labels = torch.arange(600) % 2
            mode = torch.where(labels == 0, torch.randint(0, 3, (600,), generator=generator), 1)
            features = modes[mode] + 0.05 * torch.randn(600, 16, generator=generator)
            each(features, labels, labels)
        counts[merge] = each.centers.seeded.sum(1).tolist()
    assert counts == {0.8: [3, 1], None: [8, 8]}


# where anchors come from


def slow_places(labels, predictions, places, keys, quota: int) -> set[int]:
    """The voxels of class 0 that are drawn: half hard, half easy; the first of each place, then the others."""
    chosen: set[int] = set()
    for kind in (False, True):
        own = [i for i in range(len(labels)) if labels[i] == 0 and bool(predictions[i] == labels[i]) == kind]
        own.sort(key=lambda i: int(keys[i]))
        first = []
        for i in own:
            if places[i] not in {places[j] for j in first}:
                first.append(i)
        chosen |= set([*first, *(i for i in own if i not in first)][: quota // 2])
    return chosen


@pytest.mark.parametrize("quota", [10, 40])
def test_anchors_are_drawn_place_by_place(quota: int) -> None:
    generator = torch.Generator().manual_seed(3)
    labels, predictions = (
        torch.randint(0, 2, (200,), generator=generator),
        torch.randint(0, 2, (200,), generator=generator),
    )
    places = torch.randint(0, 12, (200,), generator=generator).clamp_min(6) + (1 << 50)  # half of the voxels in one
    anchors = sample_anchors(labels, predictions, 2, quota, None, 0, torch.tensor(7), places)
    keys = voxel_keys(200, torch.tensor(0), 0, torch.tensor(7))
    own = anchors.valid & (anchors.class_id == 0)
    assert set(anchors.index[own].tolist()) == slow_places(labels, predictions, places.tolist(), keys, quota)
    rows = anchors.index[anchors.valid]
    assert len(rows.unique()) == len(rows)
    assert torch.equal(labels[rows] != predictions[rows], anchors.hard[anchors.valid])


def test_cells_are_cubes_and_things_go_before_them() -> None:
    xyz = torch.tensor([[0.1, 0.1, 0.1], [1.9, 1.9, 1.9], [2.1, 0.1, 0.1], [-0.1, 0.1, 0.1]])
    cell = cells(xyz, 2.0)
    assert [int(cell[0]) == int(other) for other in cell] == [True, True, False, False]
    assert len(set(cell.tolist())) == 3
    place = things_or_cells(torch.tensor([0, 5, 5, 0]), cell)
    assert place.tolist() == [int(cell[0]), 5, 5, int(cell[3])]
    apart = in_scans(place, torch.tensor([0, 0, 1, 0]))
    assert apart[1] != apart[2] and int(apart.max()) < 1 << 57


def test_a_head_draws_from_cells_or_things() -> None:
    """One crowded cell holds nine tenths of the voxels: drawn alike, it holds as many of the anchors."""
    shares = {}
    for source in ("voxels", "cells", "things"):
        each = head(anchors_from=source, anchors_per_class=20)
        _, labels, predictions, asked = batch(0, 2000)
        crowd = torch.rand(2000, generator=torch.Generator().manual_seed(1)) < 0.9
        asked["xyz"][crowd] = 0.5
        asked["things"] = torch.where(crowd, 1, torch.arange(2000))
        anchors = each.draw.anchors(labels, predictions, 4, each.step, asked)
        shares[source] = float(crowd[anchors.index[anchors.valid]].float().mean())
    assert shares["voxels"] > 0.8
    assert shares["cells"] < 0.3 and shares["things"] < 0.3, "1 of 10 hard ones and of 10 easy ones, in each of 2 scans"


# what feeds centres and bank


def test_misclassified_anchors_can_be_kept_out() -> None:
    every, correct = head(), head(update_from="correct")
    for each in (every, correct):
        step(each, 0)
    features, labels, _, _ = batch(1)
    wrong = (labels + 1) % 4
    before = [(each.centers.vectors.clone(), each.bank.count.clone()) for each in (every, correct)]
    for each in (every, correct):
        each(features, labels, wrong)
    assert (every.bank.count > before[0][1]).all()
    assert not torch.equal(every.centers.vectors, before[0][0])
    assert torch.equal(correct.bank.count, before[1][1]) and torch.equal(correct.centers.vectors, before[1][0])
    correct(features, labels, labels)
    assert (correct.bank.count > before[1][1]).any()


# prototypes


def test_the_classifier_is_the_best_centre_of_each_class() -> None:
    x, vectors = unit(30, 5).requires_grad_(), unit(4, 3, 5, seed=1)
    seeded = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], dtype=torch.bool)
    classes, valid = torch.arange(30) % 4, torch.arange(30) % 7 > 0
    losses = []
    for i in range(30):
        if valid[i] and classes[i] != 2:
            logits = {
                c: max(float(x[i].detach() @ vectors[c, k]) / 0.1 for k in range(3) if seeded[c, k]) for c in (0, 1, 3)
            }
            losses.append(math.log(sum(math.exp(v) for v in logits.values())) - logits[int(classes[i])])
    found = prototype_loss(x, valid, classes, vectors.flatten(0, 1), seeded, 0.1)
    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    found.backward()
    assert (x.grad[valid & (classes != 2)].abs().sum(1) > 0).all()
    assert (x.grad[~valid | (classes == 2)] == 0).all()


def test_the_distance_is_squared() -> None:
    x, own, valid = unit(9, 5), unit(9, 5, seed=1), torch.arange(9) > 2
    expected = np.mean([(1 - float(x[i] @ own[i])) ** 2 for i in range(3, 9)])
    assert distance_loss(x, valid, own).item() == pytest.approx(expected, rel=1e-5)
    assert distance_loss(x, torch.zeros(9, dtype=torch.bool), own) == 0


def test_only_terms_with_a_weight_are_there() -> None:
    each = head(weight_point_point=0.0, weight_point_bank=0.0, weight_classifier=1.0, weight_distance=0.1)
    for number in range(2):
        output, _ = step(each, number)
    assert list(output.losses) == ["point_center", "classifier", "distance"]
    zero = dict.fromkeys(("weight_point_point", "weight_point_center", "weight_point_bank"), 0.0)
    with pytest.raises(UserError, match=r"only weights of 0, expected one of weight_point_point"):
        head(**zero)


# the two controls


def test_the_oracle_takes_the_true_modes() -> None:
    each = head(assignment="modes", anchors_per_class=40)
    for number in range(3):
        features, labels, predictions, asked = batch(number)
        sample = sample_anchors(labels, predictions, 4, 40, None, each.draw.seed, each.step.clone())
        before = each.bank.count.clone()
        output = each(features, labels, predictions, modes=asked["modes"])
        rows = sample.index[sample.valid]
        pairs = [(int(labels[r]), int(asked["modes"][r])) for r in rows if asked["modes"][r] >= 0]
        assert output.stats["anchors"] == len(pairs), "an anchor without a mode does not count"
        pushed = (each.bank.count - before).view(4, 3)
        for c in range(4):
            for k in range(3):
                assert pushed[c, k] == min(pairs.count((c, k)), 4)
        if number == 0:
            first = next(int(r) for r in rows if labels[r] == 2 and asked["modes"][r] == 1)
            seeds = F.normalize(features[first], dim=0)
            seen = torch.stack(
                [F.normalize(features[int(r)], dim=0) for r in rows if labels[r] == 2 and asked["modes"][r] == 1]
            )
            moved = F.normalize(0.99 * seeds + 0.01 * seen.mean(0), dim=0)
            assert torch.allclose(each.centers.vectors[2, 1], moved, atol=1e-5)


def test_the_placebo_is_random_and_fixed() -> None:
    things = torch.arange(1, 6001) << 3
    five = random_clusters(things, torch.full_like(things, 5), 0)
    assert torch.equal(five, random_clusters(things, torch.full_like(things, 5), 0))
    counts = torch.bincount(five, minlength=5)
    assert (counts - 1200).abs().max() < 6 * (6000 * 0.16) ** 0.5
    other = random_clusters(things, torch.full_like(things, 5), 1)
    assert abs(float((five == other).float().mean()) - 0.2) < 0.04, "another seed, another placebo"
    neighbours = (five[1:] == five[:-1]).float().mean()
    assert abs(float(neighbours) - 0.2) < 0.04
    far = things + (1 << 40)
    assert abs(float((random_clusters(far, torch.full_like(far, 5), 0) == five).float().mean()) - 0.2) < 0.04


def test_a_thing_keeps_its_cluster_over_the_steps() -> None:
    each = head(assignment="random", projection=(), clusters_per_class=4)
    seen: dict[tuple[int, int], set[int]] = {}
    for number in range(4):
        _, labels, predictions, asked = batch(number)
        asked["things"] = asked["things"] + 1
        anchors = each.draw.anchors(labels, predictions, 4, each.step, asked)
        given, known = each.draw.given("random", anchors, each.centers.exists.sum(1), asked)
        assert given is not None and known.all()
        for slot in anchors.valid.nonzero()[:, 0].tolist():
            row = int(anchors.index[slot])
            seen.setdefault((int(labels[row]), int(asked["things"][row])), set()).add(int(given[slot]))
        step(each, number)
    assert all(len(clusters) == 1 for clusters in seen.values())
    assert len({next(iter(clusters)) for clusters in seen.values()}) == 4


# two views


def test_each_view_is_contrasted_with_the_clusters_of_the_other() -> None:
    each = head(views=2, weight_point_point=0.0, weight_point_bank=0.0)
    for number in range(3):
        step(each, number)
    features, labels, predictions, asked = batch(9)
    sample = sample_anchors(labels, predictions, 4, 24, None, each.draw.seed, each.step.clone())
    rows, classes = sample.index[sample.valid], sample.class_id[sample.valid].numpy()
    centers = each.centers.vectors.double().numpy().copy()
    views = [F.normalize(part[rows].double(), dim=1).numpy() for part in (features, asked["other"])]
    subclass = []
    for x in views:
        found = np.zeros(len(x), int)
        for c in range(4):
            own = classes == c
            found[own] = 3 * c + slow_sinkhorn(x[own] @ centers[c].T, 25.0, 2000).argmax(1)
        subclass.append(found)
    ids = np.arange(12)
    losses = {}
    for name, order in {"swapped": (1, 0), "own": (0, 1)}.items():
        parts = []
        for x, labels_ in zip(views, (subclass[i] for i in order), strict=True):
            same = labels_[:, None] == ids
            parts.append(slow_contrast(x, centers.reshape(12, -1), same, ~same, 0.1, 2.0))
        losses[name] = 0.5 * sum(parts) / 2
    output = each(features, labels, predictions, other=asked["other"])
    assert output.losses["point_center"].item() == pytest.approx(losses["swapped"], abs=1e-6)
    assert abs(losses["swapped"] - losses["own"]) > 1e-4, "or the swap would make no difference here"


# all of them: exact resume


OPTIONS = [
    {"same_class_negatives": 0.3},
    {"assignment": "queue", "queue_rows": 4},
    {"assignment": "nearest", "merge_above": 0.7},
    {"assignment": "modes"},
    {"assignment": "random"},
    {"anchors_per_cluster": 3},
    {"anchors_from": "cells"},
    {"anchors_from": "things"},
    {"update_from": "correct"},
    {"weight_classifier": 1.0, "weight_distance": 1.0},
    {"views": 2},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_state_continues_bit_for_bit(options: dict) -> None:
    def train(each: ClusterHead, optimizer, numbers: range) -> None:
        for number in numbers:
            optimizer.zero_grad()
            step(each, number)
            optimizer.step()

    def fresh():
        each = head(projection=(8,), reseed_after=2, **options)
        return each, torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9)

    straight, optimizer = fresh()
    train(straight, optimizer, range(6))
    first, optimizer = fresh()
    train(first, optimizer, range(3))
    saved = {name: value.clone() for name, value in first.state_dict().items()}
    second, other = fresh()
    second.load_state_dict(saved)
    other.load_state_dict(optimizer.state_dict())
    train(second, other, range(3, 6))
    for name, value in straight.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
