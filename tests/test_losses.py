from __future__ import annotations

import hydra
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf

from clusterseg import compiled
from clusterseg.errors import UserError
from clusterseg.losses import (
    CrossEntropy,
    LovaszSoftmax,
    _all_classes,
    _compiled_classes,
    cross_entropy,
    lovasz_softmax,
)

CASES = ["P2_C19_0", "P50_C19_1", "P1000_C19_2", "P5000_C19_3", "P300_C5_4", "P700_C19_5"]
TERMS = [CrossEntropy(), LovaszSoftmax()]


def slow_lovasz(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Equation 9 of Berman et al. by the definition of the Lovász extension: a loop over classes and points."""
    kept = labels != 255
    probabilities, labels = probabilities[kept], labels[kept]
    losses = []
    for c in sorted(set(labels.tolist())):
        errors = np.abs((labels == c) - probabilities[:, c])
        wrong, total, before = set(), 0.0, 0.0
        truth = set(np.flatnonzero(labels == c).tolist())
        for i in np.argsort(-errors, kind="stable").tolist():
            wrong.add(i)
            jaccard = len(wrong) / len(truth | wrong)
            total += errors[i] * (jaccard - before)
            before = jaccard
        losses.append(total)
    return sum(losses) / len(losses)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("case", CASES)
def test_golden_lovasz(case: str, shared) -> None:
    golden = np.load(shared / "golden" / "lovasz.npz")
    logits = torch.from_numpy(golden[f"{case}::logits"]).requires_grad_()
    loss = LovaszSoftmax()(logits, torch.from_numpy(golden[f"{case}::labels"]))
    loss.backward()
    value_error = abs(loss.item() - golden[f"{case}::loss"])
    grad_error = (logits.grad - torch.from_numpy(golden[f"{case}::grad_logits"])).abs().max().item()
    print(f"{case}: value off by {value_error:.1e}, gradient by {grad_error:.1e}")
    assert value_error <= 1e-6
    assert grad_error <= 1e-6


@pytest.mark.skipif(not compiled.is_built(), reason="the parts in C were not built: no C compiler")
@pytest.mark.parametrize("points", [1, 2, 60, 70_000])
@pytest.mark.parametrize("threads", [1, 3])
def test_the_lovasz_loss_in_c_equals_that_in_numpy(points: int, threads: int) -> None:
    generator = torch.Generator().manual_seed(points)
    labels = torch.randint(0, 6, (points,), generator=generator)
    probabilities = torch.rand(points, 7, generator=generator) ** 6
    probabilities[: points // 3, 0] = 0.25  # ties stay in the order of the voxels in C
    probabilities[labels == 1, 1] = 1 + 1e-7  # as rounding leaves some
    labels[points // 2 : points // 2 + points // 9] = 255
    rows = torch.nonzero(labels != 255)[:, 0]
    given = probabilities, rows, labels[rows], labels[rows].unique()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = [(fill(*given, copy := torch.zeros(points, 7)), copy) for fill in (_compiled_classes, _all_classes)]
    finally:
        torch.set_num_threads(before)
    (loss, gradient), (want_loss, want_gradient) = found
    assert loss == pytest.approx(want_loss, rel=1e-6, abs=2e-7)
    torch.testing.assert_close(gradient[:, 1:], want_gradient[:, 1:], rtol=0, atol=1e-8)
    assert not gradient[labels == 255].any()
    assert not gradient[:, 6].any(), "a class that is absent"


@pytest.mark.skipif(not compiled.is_built(), reason="the parts in C were not built: no C compiler")
def test_voxels_behind_the_last_of_a_class_have_no_gradient_in_c_either() -> None:
    probabilities = torch.tensor([[0.6, 0.4], [0.7, 0.3], [0.2, 0.8], [0.9, 0.1]])
    labels = torch.tensor([0, 0, 1, 1])
    gradients = [torch.zeros(4, 2), torch.zeros(4, 2)]
    for fill, gradient in zip((_compiled_classes, _all_classes), gradients, strict=True):
        fill(probabilities, torch.arange(4), labels, labels.unique(), gradient)
    assert gradients[0][2, 0] == 0, "its error, 0.2, is below those of both voxels of the class: 0.3 and 0.4"
    assert gradients[0][3, 0] > 0
    torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-8)


@pytest.fixture(params=[True, False], ids=["in C", "in numpy"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to the loss on a CPU."""
    if request.param and not compiled.is_built():
        pytest.skip("the parts in C were not built: no C compiler")
    monkeypatch.setattr(compiled, "is_built", lambda: request.param)


@pytest.mark.usefixtures("either")
def test_a_nan_of_either_sign_and_a_label_of_no_class_are_seen() -> None:
    for nan in (float("nan"), -float("nan")):
        probabilities = torch.full((4, 2), 0.5)
        probabilities[1] = nan
        assert lovasz_softmax(probabilities, torch.tensor([0, 0, 1, 1])).isnan()
    with pytest.raises(IndexError, match="label 2: there are 2 classes"):
        lovasz_softmax(torch.full((2, 2), 0.5), torch.tensor([0, 2]))


@pytest.mark.parametrize("points", [1, 2, 60, 300])
def test_lovasz_equals_its_definition(points: int) -> None:
    generator = torch.Generator().manual_seed(points)
    probabilities = torch.randn(points, 5, generator=generator, dtype=torch.float64).softmax(1)
    labels = torch.randint(0, 4, (points,), generator=generator)
    labels[torch.rand(points, generator=generator) < 0.2] = 255
    labels[0] = 2
    assert lovasz_softmax(probabilities, labels).item() == pytest.approx(
        slow_lovasz(probabilities.numpy(), labels.numpy()), abs=1e-12
    )


def test_lovasz_gradcheck() -> None:
    logits = torch.randn(9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.tensor([0, 1, 255, 3, 3, 0, 255, 1, 0])
    assert torch.autograd.gradcheck(lambda x: lovasz_softmax(x.softmax(1), labels), logits)


def test_cross_entropy_equals_the_plain_mean() -> None:
    logits, labels = torch.randn(50, 4), torch.randint(0, 4, (50,))
    labels[::3] = 255
    kept = labels != 255
    expected = -logits[kept].double().log_softmax(1)[torch.arange(int(kept.sum())), labels[kept]].mean()
    assert cross_entropy(logits, labels).item() == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("points", [0, 1, 7])
def test_nothing_valid_is_zero_with_zero_gradient(term: torch.nn.Module, points: int) -> None:
    logits = torch.randn(points, 19, requires_grad=True)
    loss = term(logits, torch.full((points,), 255))
    loss.backward()
    assert loss.shape == ()
    assert loss.item() == 0
    assert logits.grad.shape == logits.shape
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("term", TERMS)
def test_one_valid_point(term: torch.nn.Module) -> None:
    logits = torch.randn(3, 19, requires_grad=True)
    loss = term(logits, torch.tensor([255, 4, 255]))
    loss.backward()
    p = F.softmax(logits[1], 0)[4].item()
    expected = 1 - p if isinstance(term, LovaszSoftmax) else -np.log(p)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert (logits.grad[[0, 2]] == 0).all()


@pytest.mark.parametrize("term", TERMS)
def test_half_logits_give_a_float32_loss(term: torch.nn.Module) -> None:
    logits = (100 * torch.randn(40, 5)).half().requires_grad_()
    loss = term(logits, torch.randint(0, 5, (40,)))
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


NAMES = ["a", "b", "c", "d"]
WEIGHTS = {"default": 0.5, "b": 3.0, "d": 0.0}


def slow_cross_entropy(logits: np.ndarray, labels: np.ndarray, smoothing: float, weights: list[float]) -> float:
    """A loop over the voxels, with the smoothed target written out."""
    total = mass = 0.0
    for row, label in zip(logits.astype(np.float64), labels.tolist(), strict=True):
        if label == 255:
            continue
        log_p = row - row.max() - np.log(np.exp(row - row.max()).sum())
        target = [(1 - smoothing) * (c == label) + smoothing / len(row) for c in range(len(row))]
        total -= sum(w * t * lp for w, t, lp in zip(weights, target, log_p, strict=True))
        mass += weights[label]
    return total / mass if mass else 0.0


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_smoothed_and_weighted_cross_entropy_is_its_definition(smoothing: float, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(60, 4, generator=generator)).requires_grad_()
    labels = torch.randint(0, 4, (60,), generator=generator)
    labels[::5] = 255
    term = CrossEntropy(2.0, label_smoothing=smoothing, class_weights=WEIGHTS if weighted else None)
    term.bind(NAMES)
    weights = [0.5, 3.0, 0.5, 0.0] if weighted else [1.0] * 4
    loss = term(logits, labels)
    loss.backward()
    assert loss.item() == pytest.approx(
        2 * slow_cross_entropy(logits.detach().numpy(), labels.numpy(), smoothing, weights), rel=1e-6
    )
    assert logits.grad.isfinite().all() and (logits.grad[::5] == 0).all()


def test_class_weights_where_nothing_weighs() -> None:
    term = CrossEntropy(class_weights=WEIGHTS)
    term.bind(NAMES)
    for labels in ([], [255, 255], [3, 255]):
        logits = torch.randn(len(labels), 4, requires_grad=True)
        loss = term(logits, torch.tensor(labels, dtype=torch.int64))
        loss.backward()
        assert loss.item() == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"default": 1.0, "lorry": 2.0}, r"loss\.ce\.class_weights: got lorry; expected names among .*a, b, c, d"),
        ({"a": 1.0, "c": 2.0}, r"class_weights: got no weight of b, d; expected one of each class, or a `default`"),
        ({"default": 0.0}, r"class_weights: got 0 for every class; expected more than 0"),
    ],
)
def test_class_weights_that_do_not_fit_the_classes(weights: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CrossEntropy(class_weights=weights).bind(NAMES)


def test_numbers_out_of_range_and_weights_without_names() -> None:
    with pytest.raises(UserError, match=r"loss\.ce\.label_smoothing=1.5: expected a number from 0 to 1"):
        CrossEntropy(label_smoothing=1.5)
    with pytest.raises(UserError, match=r"loss\.ce\.class_weights=.*expected names with a number of at least 0"):
        CrossEntropy(class_weights={"a": -1.0})
    with pytest.raises(UserError, match=r"call bind\(class_names\) first"):
        CrossEntropy(class_weights={"a": 1.0})(torch.randn(2, 4), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(("choice", "names"), [("ce", ["ce"]), ("ce_lovasz", ["ce", "lovasz"])])
def test_config_group_gives_weighted_terms_by_name(choice: str, names: list[str], pytestconfig) -> None:
    with hydra.initialize_config_dir(str(pytestconfig.rootpath / "conf" / "loss"), version_base="1.3"):
        config = hydra.compose(choice, overrides=["ce.weight=2.0"])
    terms = hydra.utils.instantiate(config, _convert_="all")
    logits, labels = torch.randn(20, 4), torch.randint(0, 4, (20,))
    assert list(terms) == names
    assert torch.allclose(terms["ce"](logits, labels), 2 * cross_entropy(logits, labels))
    assert OmegaConf.to_container(config)["ce"]["weight"] == 2.0
