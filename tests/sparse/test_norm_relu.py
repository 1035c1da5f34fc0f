"""BatchNorm with its ReLU, and the convolution behind it, keep the norm's input alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from clusterseg.sparse import BatchNorm, Conv3d, SparseTensor, sparse_tensor

BACKENDS = ("native", "auto")


def pair(channels: int = 6) -> tuple[BatchNorm, nn.Sequential]:
    """Ours, and PyTorch's layers with the same state."""
    torch.manual_seed(1)
    ours = BatchNorm(channels).double()
    with torch.no_grad():
        for tensor in (ours.weight, ours.bias, ours.running_mean):
            tensor.normal_()
    reference = nn.BatchNorm1d(channels).double()
    reference.load_state_dict(ours.state_dict())
    return ours, nn.Sequential(reference, nn.ReLU())


def voxels(dtype: torch.dtype, channels: int, backend: str) -> SparseTensor:
    torch.manual_seed(2)
    coords = torch.unique(torch.randint(-6, 6, (400, 4)).int().clamp(min=0), dim=0)
    return sparse_tensor(torch.randn(len(coords), channels, dtype=dtype), coords, backend)[0]


def test_values_gradients_and_statistics_are_those_of_two_layers() -> None:
    ours, reference = pair()
    feats = torch.randn(50, 6, dtype=torch.float64, requires_grad=True)
    twin = feats.detach().clone().requires_grad_()
    towards = torch.randn(50, 6, dtype=torch.float64)
    out, expected = ours(feats, relu=True), reference(twin)
    torch.testing.assert_close(out, expected)
    assert 0.2 < float((out == 0).double().mean()) < 0.8
    (out * towards).sum().backward()
    (expected * towards).sum().backward()
    torch.testing.assert_close(feats.grad, twin.grad)
    for ours_one, other in zip(ours.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours_one.grad, other.grad)
    for ours_one, other in zip(ours.buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(ours_one, other)


@pytest.mark.parametrize("mode", ["evaluation", "without gradients", "one row", "bfloat16"])
def test_other_modes_have_the_relu_too(mode: str) -> None:
    ours, reference = pair()
    feats = torch.randn(1 if mode == "one row" else 9, 6, dtype=torch.float64)
    if mode == "bfloat16":
        ours, reference, feats = ours.bfloat16(), reference.bfloat16(), feats.bfloat16()
    if mode in ("evaluation", "one row"):
        reference.eval()
    if mode == "evaluation":
        ours.eval()
    expected = reference(feats.clone())
    with torch.set_grad_enabled(mode in ("one row", "bfloat16")):
        torch.testing.assert_close(ours(feats, relu=True), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_convolutions_behind_it_have_their_gradients(backend: str) -> None:
    """A 3x3x3 and a pointwise convolution read one output, as the two ways of a residual block do."""
    dtype = torch.float32 if backend == "auto" else torch.float64
    norm, same, point = BatchNorm(6).to(dtype), Conv3d(6, 5).to(dtype), Conv3d(6, 5, kernel_size=1).to(dtype)
    x = voxels(dtype, 6, backend)
    found = []
    for lean in (True, False):
        layers = copy.deepcopy(nn.ModuleList([norm, same, point]))
        feats = x.feats.clone().requires_grad_()
        z = layers[0](feats, relu=True) if lean else layers[0](feats).relu()
        (layers[1](x.with_feats(z)).feats * layers[2](x.with_feats(z)).feats).square().sum().backward()
        found.append([feats.grad, *(parameter.grad for parameter in layers.parameters())])
    for lean_grad, plain_grad in zip(*found, strict=True):
        torch.testing.assert_close(lean_grad, plain_grad, rtol=2e-4 if dtype == torch.float32 else 1e-9, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_output_is_not_kept_for_the_backward_pass(backend: str) -> None:
    dtype = torch.float32 if backend == "auto" else torch.float64
    norm, conv = BatchNorm(6).to(dtype), Conv3d(6, 5).to(dtype)
    x = voxels(dtype, 6, backend)

    def kept(z: Tensor) -> tuple[bool, Tensor]:
        reference = StorageWeakRef(z.untyped_storage())
        out = conv(x.with_feats(z)).feats
        del z
        return not reference.expired(), out

    lean, out = kept(norm(x.feats.clone().requires_grad_(), relu=True))
    assert not lean and out.requires_grad
    assert kept(norm(x.feats.clone().requires_grad_()).relu())[0]  # the test could fail


def test_an_output_that_was_written_over_is_kept() -> None:
    norm, conv = BatchNorm(6).double(), Conv3d(6, 5).double()
    x = voxels(torch.float64, 6, "native")
    z = norm(x.feats.clone().requires_grad_(), relu=True).mul_(2)
    conv(x.with_feats(z)).feats.square().sum().backward()
    plain = copy.deepcopy(conv)
    plain.zero_grad()
    plain(x.with_feats(z.detach().clone())).feats.square().sum().backward()
    torch.testing.assert_close(conv.kernel.grad, plain.kernel.grad)


def test_two_backward_passes_through_one_graph_agree() -> None:
    norm, conv = BatchNorm(6).double(), Conv3d(6, 5).double()
    x = voxels(torch.float64, 6, "native")
    feats = x.feats.clone().requires_grad_()
    loss = conv(x.with_feats(norm(feats, relu=True))).feats.square().sum()
    first = torch.autograd.grad(loss, [feats, conv.kernel], retain_graph=True)
    second = torch.autograd.grad(loss, [feats, conv.kernel])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
