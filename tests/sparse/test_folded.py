"""Without gradients a convolution takes the norm and the ReLU behind it into its own pass: the same numbers."""

from __future__ import annotations

import pytest
import torch
from scenes import street
from torch import nn

from clusterseg.backbone.blocks import apply_layers
from clusterseg.sparse import BatchNorm, Conv3d, sparse_tensor
from clusterseg.sparse.backends.native import _few_sizes


def layers(kernel_size: int, stride: int, transposed: bool, act: bool) -> nn.Sequential:
    torch.manual_seed(0)
    norm = BatchNorm(6)
    norm.running_mean = torch.randn(6)
    norm.running_var = torch.rand(6) + 0.5
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_()
    return nn.Sequential(Conv3d(5, 6, kernel_size, stride, transposed), norm, *([nn.ReLU()] if act else [])).eval()


@pytest.mark.parametrize("act", [True, False])
@pytest.mark.parametrize(
    ("kernel_size", "stride", "transposed"), [(3, 1, False), (2, 2, False), (2, 2, True), (1, 1, False)]
)
def test_folded_is_one_after_the_other(kernel_size: int, stride: int, transposed: bool, act: bool) -> None:
    net = layers(kernel_size, stride, transposed, act).double()
    coords = street(20_000, seed=1)
    x, _ = sparse_tensor(torch.randn(len(coords), 5, dtype=torch.float64), coords)
    if transposed:
        x = x.with_feats(torch.randn(x.grid.keys(2).numel(), 5, dtype=torch.float64), 2)
    before = x.feats.clone()
    apart = apply_layers(net, x)  # with gradients nothing is folded
    with torch.no_grad():
        folded = apply_layers(net, x)
    assert folded.stride == apart.stride
    torch.testing.assert_close(folded.feats, apart.feats.detach(), rtol=1e-12, atol=1e-12)
    assert torch.equal(x.feats, before), "the input is left alone"


def test_training_is_not_folded() -> None:
    net = layers(3, 1, False, True).train()
    coords = street(500, seed=2)
    x, _ = sparse_tensor(torch.randn(len(coords), 5), coords)
    with torch.no_grad():
        feats = apply_layers(net[:2], x).feats
    assert feats.mean(0).sub(net[1].bias).abs().max() < 1e-4, "by the statistics of the batch"


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_in_few_row_counts_is_as_near_as_in_any(kind: torch.dtype) -> None:
    net = layers(3, 1, False, True)
    coords = street(30_000, seed=3)
    x, _ = sparse_tensor(torch.randn(len(coords), 5), coords)
    with torch.no_grad():
        exact = apply_layers(net, x).feats
        half = apply_layers(net.to(kind), x.with_feats(x.feats.to(kind))).feats.float()
    assert (half - exact).abs().max() <= (0.03 if kind == torch.bfloat16 else 0.005) * exact.abs().max()


def test_row_counts_are_few_and_large_enough() -> None:
    sizes = {_few_sizes(rows) for rows in range(1, 8193)}
    assert len(sizes) <= 26
    assert all(rows <= _few_sizes(rows) <= max(64, 1.25 * rows + 64) for rows in range(1, 8193))
