from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from clusterseg.cluster.projection import masked_batch_norm, project, projection_mlp, unit_rows


def test_names_and_shapes_are_those_of_the_published_weights(shared) -> None:
    listed = json.loads((shared / "golden" / "state_dict_spvnas_cluster.json").read_text())
    expected = [(name, tuple(shape)) for name, shape in listed if name.startswith("proj.")]
    state = nn.ModuleDict({"proj": projection_mlp(232, (256, 128, 64))}).state_dict()
    assert [(name, tuple(value.shape)) for name, value in state.items()] == expected


@pytest.mark.parametrize("training", [True, False])
def test_padding_changes_nothing(training: bool) -> None:
    torch.manual_seed(0)
    layers, plain = projection_mlp(6, (5, 4)), projection_mlp(6, (5, 4))
    plain.load_state_dict(layers.state_dict())
    layers.train(training)
    plain.train(training)
    x = torch.randn(12, 6)
    valid = torch.tensor([True, False] * 6)
    a, b = x.clone().requires_grad_(), x[valid].clone().requires_grad_()
    out, expected = project(layers, a, valid)[valid], plain(b)
    assert torch.allclose(out, expected, atol=1e-5)
    (out.sin().sum()).backward()
    (expected.sin().sum()).backward()
    assert torch.allclose(a.grad[valid], b.grad, atol=1e-5)
    assert (a.grad[~valid] == 0).all()
    for name, value in layers.state_dict().items():
        assert torch.allclose(value, plain.state_dict()[name], atol=1e-5), name


@pytest.mark.parametrize("count", [0, 1])
def test_one_row_or_none_is_the_bias_and_moves_no_statistics(count: int) -> None:
    norm = nn.BatchNorm1d(3)
    nn.init.normal_(norm.bias)
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    out = masked_batch_norm(norm, torch.randn(4, 3), torch.arange(4) < count)
    assert torch.equal(out[:count], norm.bias.expand(count, 3))
    assert all(torch.equal(v, before[k]) for k, v in norm.state_dict().items())


def test_a_row_without_direction_has_no_gradient() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]], requires_grad=True)
    rows, alive = unit_rows(x)
    rows.sum().backward()
    assert rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 0.0]]
    assert alive.tolist() == [True, False]
    assert x.grad[1].tolist() == [0.0, 0.0]


def test_unit_rows_gradcheck() -> None:
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: unit_rows(v)[0], x)
