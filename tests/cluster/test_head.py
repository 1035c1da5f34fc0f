from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from slow_cluster import adjusted_rand_index, slow_contrast, slow_sinkhorn

from clusterseg.cluster import ClusterHead
from clusterseg.cluster.base import as_output
from clusterseg.cluster.sampling import sample_anchors
from clusterseg.errors import UserError

NAMES = ["car", "person", "road", "pole"]
TERMS = ["point_point", "point_center", "point_bank"]


def build(**settings) -> ClusterHead:
    torch.manual_seed(0)
    small = {"clusters_per_class": 3, "projection": (12, 8), "anchors_per_class": 24, "ramp_steps": 0}
    return ClusterHead.default(6, NAMES, **{**small, "bank_size": 8, "bank_push": 4, **settings})


def batch(step: int, voxels: int = 300):
    generator = torch.Generator().manual_seed(step)
    features = torch.randn(voxels, 6, generator=generator)
    labels = torch.randint(0, 5, (voxels,), generator=generator)
    labels[labels == 4] = 255
    predictions = torch.randint(0, 4, (voxels,), generator=generator)
    return features, labels, predictions


def run(head: ClusterHead, features, labels, predictions):
    """One step; every loss and gradient finite, every parameter reached."""
    features = features.clone().requires_grad_()
    head.zero_grad()
    output = head(features, labels, predictions)
    sum(output.losses.values()).backward()
    assert list(output.losses) == TERMS
    for name, value in {**output.losses, **output.stats}.items():
        assert value.shape == (), name
        assert value.isfinite(), name
    for name, parameter in [("features", features), *head.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert all(buffer.isfinite().all() for buffer in head.buffers())
    return output, features.grad


def test_losses_and_stats() -> None:
    head = build()
    for step in range(6):
        output, grad = run(head, *batch(step))
    assert all(output.losses[name] > 0 for name in TERMS)
    assert (grad.abs().sum(1) > 0).sum() == output.stats["anchors"] == 4 * 24
    assert {f"used/{name}" for name in NAMES} <= set(output.stats)
    assert output.stats["bank_fill"] == 1
    assert 0 < output.stats["entropy"] <= 1
    assert 0.4 < output.stats["hard"] < 0.6
    assert output.stats["sinkhorn_error"] < 1e-3
    assert 0 < output.stats["drift"] < 0.1
    assert not any(value.requires_grad for value in output.stats.values())


def slow_step(head: ClusterHead, features, labels, predictions) -> dict[str, float]:
    """The three terms of the next step, class by class and pair by pair, from the head's present state."""
    step = head.step.clone()
    sample = sample_anchors(labels, predictions, len(NAMES), head.draw.per_class, None, head.draw.seed, step)
    rows = sample.index[sample.valid]
    x = F.normalize(features[rows].double(), dim=1).numpy()
    centers = head.centers.vectors.double().numpy()
    subclass = np.zeros(len(rows), dtype=int)
    for c in range(len(NAMES)):
        own = labels[rows].numpy() == c
        plan = slow_sinkhorn(x[own] @ centers[c].T, head.rule.lambda_, 500)
        subclass[own] = c * centers.shape[1] + plan.argmax(1)
    written = head.bank.written.numpy()
    bank = head.bank.vectors.double().numpy()[written]
    sets = {
        "point_point": (x, subclass),
        "point_center": (centers.reshape(-1, x.shape[1]), np.arange(centers.shape[0] * centers.shape[1])),
        "point_bank": (bank, written.nonzero()[0]),
    }
    losses = {}
    for name, (others, ids) in sets.items():
        positives, negatives = subclass[:, None] == ids, subclass[:, None] != ids
        if name == "point_point":
            np.fill_diagonal(positives, False)
        losses[name] = 0.5 * slow_contrast(x, others, positives, negatives, head.terms.temperature, head.terms.tau_base)
    return losses


def test_a_step_equals_the_method_written_out() -> None:
    head = build(projection=())
    for step in range(3):
        run(head, *batch(step))
    expected = slow_step(head, *batch(9))
    losses = run(head, *batch(9))[0].losses
    for name in TERMS:
        assert losses[name].item() == pytest.approx(expected[name], abs=1e-6), name


@pytest.mark.parametrize("case", ["nothing", "no voxels", "one", "few", "alike", "zeros", "k1", "all settings of one"])
@pytest.mark.parametrize("projection", [(12, 8), ()])
def test_poor_batches(case: str, projection: tuple[int, ...]) -> None:
    settings = {"k1": {"clusters_per_class": 1}, "all settings of one": {"anchors_per_class": 1, "bank_size": 1}}
    extra = {"bank_push": 1} if case == "all settings of one" else {}
    head = build(projection=projection, **settings.get(case, {}), **extra)
    for step in range(4):
        features, labels, predictions = batch(step)
        if case == "nothing":
            labels.fill_(255)
        if case == "no voxels":
            features, labels, predictions = features[:0], labels[:0], predictions[:0]
        if case == "one":
            labels[1:] = 255
            labels[0] = step % 4
        if case == "few":
            labels[5:] = 255
        if case == "alike":
            features = torch.ones_like(features)
        if case == "zeros":
            features = torch.zeros_like(features)
        output, grad = run(head, features, labels, predictions)
        silent = case in ("nothing", "no voxels") or (case == "zeros" and not projection)
        if silent:
            assert all(loss == 0 for loss in output.losses.values())
            assert (grad == 0).all()
            assert all((p.grad == 0).all() for p in head.parameters())
    if case == "one":
        assert output.losses["point_point"] == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_autocast(dtype: torch.dtype) -> None:
    head, plain = build(), build()
    for step in range(3):
        features, labels, predictions = batch(step)
        half = features.to(dtype)
        with torch.autocast("cpu", dtype=dtype):
            output = head(half.requires_grad_(), labels, predictions)
        expected = plain(half.detach().float(), labels, predictions)
        for name in TERMS:
            assert output.losses[name].dtype == torch.float32
            assert torch.equal(output.losses[name], expected.losses[name])
    sum(output.losses.values()).backward()
    assert half.grad.isfinite().all()


def test_state_dict_round_trip_continues_bit_for_bit() -> None:
    def train(head: ClusterHead, optimizer, steps: range) -> None:
        for step in steps:
            features, labels, predictions = batch(step)
            optimizer.zero_grad()
            sum(head(features, labels, predictions).losses.values()).backward()
            optimizer.step()

    def fresh():
        head = build(reseed_after=2)
        return head, torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)

    straight, optimizer = fresh()
    train(straight, optimizer, range(12))
    first, optimizer = fresh()
    train(first, optimizer, range(6))
    saved = copy.deepcopy((first.state_dict(), optimizer.state_dict()))
    second, optimizer = fresh()
    second.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    train(second, optimizer, range(6, 12))
    assert second.step == 12
    for name, value in straight.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_evaluation_mode_changes_nothing() -> None:
    head = build()
    run(head, *batch(0))
    before = copy.deepcopy(head.state_dict())
    head.eval()(*batch(1))
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def test_start_and_ramp() -> None:
    head = build(start_step=2, ramp_steps=4)
    ramps = []
    for step in range(8):
        ramps.append(head.ramp().item())
        output, _ = run(head, *batch(step))
        assert (output.losses["point_center"] > 0) == (step >= 2)
    assert ramps == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert head.bank.written.any()


def test_features_get_their_weight() -> None:
    full, half = build(), build(weight=0.25)
    a, b = run(full, *batch(0))[0], run(half, *batch(0))[0]
    for name in TERMS:
        assert a.losses[name].item() == pytest.approx(2 * b.losses[name].item())


def test_a_reseeded_subclass_forgets_its_bank() -> None:
    head = build(projection=())
    for step in range(8):
        run(head, *batch(step))
    assert head.bank.written.all()
    head.centers.seeded[1, 2] = False
    run(head, *batch(9))
    assert head.centers.seeded.all()
    filled = head.bank.written.sum(1).view(4, 3)
    assert 1 <= filled[1, 2] <= head.bank.push
    assert filled.sum() == 11 * head.bank.size + filled[1, 2]


def planted(step: int, modes: torch.Tensor, voxels: int):
    """Voxels around 4 known sub-modes per class; their class and sub-mode."""
    generator = torch.Generator().manual_seed(step)
    classes = torch.randint(0, len(modes), (voxels,), generator=generator)
    submode = torch.randint(0, 4, (voxels,), generator=generator)
    noise = 0.08 * torch.randn(voxels, modes.shape[-1], generator=generator)
    return modes[classes, submode] + noise, classes, submode


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_planted_submodes_are_found(seed: int) -> None:
    modes = F.normalize(torch.randn(4, 4, 32, generator=torch.Generator().manual_seed(seed)), dim=-1)
    head = ClusterHead.default(32, NAMES, projection=(), clusters_per_class=4, seed=seed)
    for step in range(200):
        features, labels, _ = planted(1000 * seed + step, modes, 1000)
        head(features, labels, labels)
    features, labels, submode = planted(999_999, modes, 4000)
    scores = torch.einsum("vd,vkd->vk", features, head.centers.vectors[labels])
    found = scores.argmax(1)
    for c, name in enumerate(NAMES):
        score = adjusted_rand_index(submode[labels == c].tolist(), found[labels == c].tolist())
        print(f"adjusted Rand index of {name}, seed {seed}: {score:.3f}")
        assert score >= 0.95, f"adjusted Rand index of {name} after 200 updates: {score:.3f}"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"clusters_per_class": {"default": 3, "horse": 2}}, ["clusters_per_class", "horse", "car", "pole"]),
        ({"clusters_per_class": {"car": 3}}, ["clusters_per_class", "person", "default"]),
        ({"clusters_per_class": 0}, ["clusters_per_class", "0", "at least 1"]),
        ({"clusters_per_class": {"default": 3, "car": 2.5}}, ["clusters_per_class", "2.5"]),
        ({"momentum": 1.5}, ["momentum", "1.5", "from 0 to 1"]),
        ({"temperature": 0.0}, ["temperature", "0.02"]),
        ({"weight_point_bank": -1}, ["weight_point_bank", "-1"]),
        ({"anchors_total": 3}, ["anchors_total", "3", "at least 4"]),
        ({"bank_size": 5, "bank_push": 9}, ["bank_push", "9", "from 1 to 5"]),
        ({"sinkhorn_rounds": None}, ["sinkhorn_rounds", "null"]),
        ({"lambda_": float("nan")}, ["lambda_", "NaN"]),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict, told: list[str]) -> None:
    with pytest.raises(UserError) as error:
        build(**settings)
    for words in ["model.cluster.", "expected", *told]:
        assert words in str(error.value)


def test_clusters_by_class_name() -> None:
    head = build(clusters_per_class={"default": 5, "road": 2})
    assert head.centers.exists.sum(1).tolist() == [5, 5, 2, 5]
    for step in range(3):
        output, _ = run(head, *batch(step))
    assert output.stats["used/road"] == 2
    assert output.stats["used/car"] == 5


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (torch.tensor(1.0), r"^Linear\.forward returned a Tensor; expected its losses by name"),
        ({"pull": torch.ones(3)}, r"^Linear: its loss pull is of shape \(3,\); expected a tensor of one number"),
        ({"pull": 0.5}, r"^Linear: its loss pull is a float; expected"),
    ],
)
def test_what_a_head_returns_is_checked(result: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        as_output(torch.nn.Linear(1, 1), result)
