from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden import uniform
from slow_cluster import slow_contrast

from clusterseg.cluster.contrast import BLOCK, _bank_block, _Tile, bank_contrast, contrast


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)


@pytest.fixture
def golden(shared):
    data = np.load(shared / "golden" / "loss_terms.npz")
    anchors = torch.from_numpy(data["X_anchor"]).requires_grad_()
    return data, anchors, torch.from_numpy(data["y_anchor"])


def check_golden(loss: torch.Tensor, anchors: torch.Tensor, data, name: str) -> None:
    loss.backward()
    value_error = abs(loss.item() - data[f"{name}_loss"])
    grad_error = (anchors.grad - torch.from_numpy(data[f"{name}_grad"])).abs().max().item()
    print(f"{name}: value off by {value_error:.1e}, gradient by {grad_error:.1e}")
    assert value_error <= 1e-6
    assert grad_error <= 1e-6


def test_golden_centers(golden) -> None:
    data, anchors, y = golden
    same = y[:, None] == torch.from_numpy(data["y_contrast"])
    check_golden(contrast(anchors, torch.from_numpy(data["X_contrast"]), same, ~same), anchors, data, "pcc")


def test_golden_point_point_counts_itself_as_a_negative(golden) -> None:
    data, anchors, y = golden
    positives = (y[:, None] == y) & ~torch.eye(len(y), dtype=torch.bool)
    check_golden(contrast(anchors, anchors, positives, ~positives), anchors, data, "ppc")


def golden_bank() -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.from_numpy(2 * uniform(9002, 760 * 50 * 64) - 1).view(760, 50, 64)
    kept = torch.ones(760, dtype=torch.bool)
    kept[290:320] = kept[330:360] = False
    return F.normalize(rows, dim=-1).float(), kept


def test_golden_bank(golden) -> None:
    data, anchors, y = golden
    rows, kept = golden_bank()
    same = y[:, None] == torch.arange(760)[kept].repeat_interleave(50)
    check_golden(contrast(anchors, rows[kept].flatten(0, 1), same, ~same), anchors, data, "ppc2")


def test_golden_bank_in_blocks(golden) -> None:
    data, anchors, y = golden
    rows, kept = golden_bank()
    valid = torch.ones(len(y), dtype=torch.bool)
    written = kept[:, None].expand(760, 50)
    loss = bank_contrast(anchors, valid, y.long(), rows * written[..., None], written)
    check_golden(loss, anchors, data, "ppc2")


@pytest.mark.parametrize(("tau", "tau_base"), [(0.1, 2.0), (0.5, 0.7)])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.4])
def test_equals_the_double_loop(tau: float, tau_base: float, density: float) -> None:
    anchors, others = unit(17, 6), unit(31, 6, seed=1)
    draw = torch.rand(17, 31, generator=torch.Generator().manual_seed(5))
    positives, negatives = draw < density, draw > 0.6
    expected = slow_contrast(anchors.numpy(), others.numpy(), positives.tolist(), negatives.tolist(), tau, tau_base)
    assert contrast(anchors, others, positives, negatives, tau, tau_base).item() == pytest.approx(expected, abs=1e-12)


def test_gradcheck_both_sides() -> None:
    draw = torch.rand(7, 9, generator=torch.Generator().manual_seed(5))
    sides = unit(7, 4).requires_grad_(), unit(9, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: contrast(a, b, draw < 0.3, draw > 0.5), sides)


def random_bank(anchors: int, subclasses: int = 6, size: int = 5, dim: int = 4):
    """A bank with gaps: a row in three is not written, and one ring is empty."""
    generator = torch.Generator().manual_seed(anchors)
    written = torch.rand(subclasses, size, generator=generator) > 0.3
    written[2] = False
    bank = unit(subclasses, size, dim, seed=2) * written[..., None]
    subclass = torch.randint(0, subclasses, (anchors,), generator=generator)
    valid = torch.rand(anchors, generator=generator) > 0.2
    return unit(anchors, dim, seed=3), valid, subclass, bank, written


@pytest.mark.parametrize("rows", [1, 5, 10, 20, 1000])
@pytest.mark.parametrize("count", [1, 12, BLOCK, BLOCK + 1, 3 * BLOCK - 5])
def test_bank_equals_the_masked_term(count: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clusterseg.cluster.contrast.TILE", rows)  # of 30: tiles of 1, 1, 2, 4 rings, and of all
    anchors, valid, subclass, bank, written = random_bank(count)
    own = (subclass[:, None] == torch.arange(6)).repeat_interleave(5, dim=1)
    usable = valid[:, None] & written.flatten()
    masks = own & usable, ~own & usable
    results = []
    for term in (
        lambda a: bank_contrast(a, valid, subclass, bank, written),
        lambda a: contrast(a, bank.flatten(0, 1), *masks),
    ):
        leaf = anchors.clone().requires_grad_()
        loss = term(leaf)
        loss.backward()
        results.append((loss.item(), leaf.grad))
    slow = slow_contrast(anchors.numpy(), bank.flatten(0, 1).numpy(), *(m.tolist() for m in masks), 0.1, 2.0)
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-12)
    assert results[0][0] == pytest.approx(slow, abs=1e-12)
    assert torch.allclose(results[0][1], results[1][1], atol=1e-12)


def test_anchors_in_any_order_against_the_whole_bank_are_the_same() -> None:
    """As on a GPU, where no tile knows its own anchors."""
    anchors, _, subclass, bank, written = random_bank(40)
    order, first = subclass.argsort(), int((subclass < 4).sum())
    some = [_Tile(slice(0, 4), slice(0, first)), _Tile(slice(4, 6), slice(first, 40))]
    whole = [_Tile(slice(0, 6), slice(0, 40))]
    for same_class in (None, (2, 0.25)):
        tiled = _bank_block(anchors[order], subclass[order], bank, written, 0.1, some, same_class)
        at_once = _bank_block(anchors, subclass, bank, written, 0.1, whole, same_class)
        for a, b in zip(tiled, at_once, strict=True):
            assert torch.allclose(a, b[order], atol=1e-12)
            assert b.abs().max() > 0.1


def test_bank_gradcheck() -> None:
    anchors, valid, subclass, bank, written = random_bank(12)
    leaf = anchors.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: bank_contrast(a, valid, subclass, bank, written), leaf)


@pytest.mark.parametrize("empty", ["bank", "anchors"])
def test_bank_without_positives_is_zero(empty: str) -> None:
    anchors, valid, subclass, bank, written = random_bank(12)
    leaf = anchors.float().requires_grad_()
    if empty == "bank":
        bank, written = bank * 0, written & False
    else:
        valid = valid & False
    loss = bank_contrast(leaf, valid, subclass, bank.float(), written)
    loss.backward()
    assert loss.item() == 0
    assert (leaf.grad == 0).all()


def test_without_positives_the_term_and_its_gradient_are_zero() -> None:
    anchors = unit(6, 4).float().requires_grad_()
    nothing = torch.zeros(6, 6, dtype=torch.bool)
    for negatives in (nothing, ~nothing):
        loss = contrast(anchors, anchors, nothing, negatives)
        (grad,) = torch.autograd.grad(loss, anchors)
        assert loss.item() == 0
        assert (grad == 0).all()


def test_without_negatives_nothing_is_pushed() -> None:
    anchors = unit(6, 4).float().requires_grad_()
    loss = contrast(anchors, anchors, torch.ones(6, 6, dtype=torch.bool), torch.zeros(6, 6, dtype=torch.bool))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert anchors.grad.isfinite().all()
