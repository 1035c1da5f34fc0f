"""Gradients of a few rows: the same as dense ones, wherever they meet."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clusterseg.gradients import accept_row_gradients, take_rows


def rows_and_index(rows: int = 60_000) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    feats = torch.randn(rows, 16, dtype=torch.float64).requires_grad_()
    index = torch.randint(0, rows, (3000,))
    index[:1000] = 7  # taken many times
    return feats, index


def gradient(feats: Tensor, index: Tensor, marked: bool, others: int) -> Tensor:
    """With so many other uses of the features, before and after the rows are taken."""
    x = 1.5 * feats
    x = accept_row_gradients(x) if marked else x
    uses = [x.square().sum() for _ in range(others)]
    loss = (take_rows(x, index) ** 3).sum() + sum(uses) + ((x**4).sum() if others > 1 else 0)
    (grad,) = torch.autograd.grad(loss, feats)
    return grad


@pytest.mark.parametrize("others", [0, 1, 3])
def test_the_gradient_is_the_dense_one(others: int) -> None:
    feats, index = rows_and_index()
    for _ in range(10):
        torch.testing.assert_close(
            gradient(feats, index, True, others), gradient(feats, index, False, others), rtol=1e-12, atol=1e-10
        )


def test_the_rows_gradient_is_sparse_where_that_is_accepted_and_dense_elsewhere() -> None:
    feats, index = rows_and_index(100)
    index = index % 100
    marked = accept_row_gradients(feats)
    (grad,) = torch.autograd.grad(take_rows(marked, index).sum(), marked)
    assert grad.is_sparse
    take_rows(feats, index).sum().backward()
    assert not feats.grad.is_sparse
    torch.testing.assert_close(grad.to_dense(), feats.grad)
    assert feats.grad[7].eq((index == 7).sum()).all()


def test_nothing_is_marked_without_gradients() -> None:
    feats, index = rows_and_index(100)
    with torch.no_grad():
        assert torch.equal(take_rows(accept_row_gradients(feats), index % 100), feats[index % 100])
