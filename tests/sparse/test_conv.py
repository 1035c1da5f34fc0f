from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from scenes import SCENES, coarse_coords, scene, tensor_at
from slow_convolution import KINDS, dense_convolve
from torch.func import functional_call

from clusterseg.sparse import Conv3d, kernel_map, sparse_tensor


def build(kind: str, stride: int, coords: torch.Tensor, c_in: int, c_out: int):
    """A double layer of the kind and its input; ``stride`` is the finer of the two."""
    generator = torch.Generator().manual_seed(stride)
    kernel_size, step, transposed = KINDS[kind]
    conv = Conv3d(c_in, c_out, kernel_size, step, transposed).double()
    kernel = torch.randn(conv.kernel.shape, generator=generator, dtype=torch.float64)
    conv.kernel = torch.nn.Parameter(kernel)
    in_coords = coarse_coords(coords, 2 * stride if kind == "up" else stride)
    out_coords = coarse_coords(coords, 2 * stride if kind == "down" else stride)
    feats = torch.randn(len(in_coords), c_in, generator=generator, dtype=torch.float64, requires_grad=True)
    x = tensor_at(coords, 2 * stride if kind == "up" else stride, feats)
    return conv, x, in_coords, out_coords


@pytest.mark.parametrize("stride", [1, 2, 8])
@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("kind", KINDS)
def test_forward_and_gradients_equal_dense_convolution(kind: str, name: str, stride: int) -> None:
    conv, x, in_coords, out_coords = build(kind, stride, scene(name), c_in=3, c_out=5)
    y = conv(x)
    expected = dense_convolve(kind, x.feats, conv.kernel, in_coords, out_coords, stride)
    grad = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grads = torch.autograd.grad(y.feats, (x.feats, conv.kernel), grad)
    expected_grads = torch.autograd.grad(expected, (x.feats, conv.kernel), grad)

    assert torch.equal(y.coords, out_coords)
    assert y.stride == (2 * stride if kind == "down" else stride)
    for got, want in zip((y.feats, *grads), (expected, *expected_grads), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["submanifold", "pointwise"])
def test_rows_in_any_order_keep_their_voxel(kind: str) -> None:
    coords = scene("batches")
    assert not torch.equal(coords, coarse_coords(coords, 1))
    kernel_size, step, transposed = KINDS[kind]
    conv = Conv3d(3, 4, kernel_size, step, transposed).double()
    feats = torch.randn(len(coords), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x, rows = sparse_tensor(feats, coords)
    y = conv(x)
    assert torch.equal(y.coords[rows], coords)
    expected = dense_convolve(kind, feats, conv.kernel, coords, coords, 1)
    torch.testing.assert_close(y.feats[rows], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["full", "batches", "single"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck(kind: str, name: str) -> None:
    conv, x, _, _ = build(kind, 1, scene(name)[:40], c_in=2, c_out=3)

    def convolve(feats: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        return functional_call(conv, {"kernel": kernel}, (x.with_feats(feats),)).feats

    assert torch.autograd.gradcheck(convolve, (x.feats, conv.kernel))


@pytest.mark.parametrize("frozen", ["feats", "kernel"])
def test_gradient_of_one_input_alone(frozen: str) -> None:
    conv, x, _, _ = build("submanifold", 1, scene("random"), c_in=3, c_out=3)
    both = torch.autograd.grad(conv(x).feats.square().sum(), (x.feats, conv.kernel))
    if frozen == "feats":
        alone = torch.autograd.grad(conv(x.map(torch.detach)).feats.square().sum(), conv.kernel)[0]
    else:
        conv.kernel.requires_grad_(False)
        alone = torch.autograd.grad(conv(x).feats.square().sum(), x.feats)[0]
    assert torch.equal(alone, both[1] if frozen == "feats" else both[0])


def test_layers_of_one_pass_do_not_disturb_each_other() -> None:
    """Layers of one grid share scratch memory: the gradients of a deep stack must be those of dense layers."""
    coords = scene("random")
    widths = (2, 7, 3, 6, 2)
    layers = [Conv3d(a, b).double() for a, b in pairwise(widths)]
    sorted_coords = coarse_coords(coords, 1)
    feats = torch.randn(len(coords), 2, dtype=torch.float64, requires_grad=True)
    x, dense = tensor_at(coords, 1, feats), feats
    for layer in layers:
        x = layer(x).map(torch.tanh)
        dense = dense_convolve("submanifold", dense, layer.kernel, sorted_coords, sorted_coords, 1).tanh()
    inputs = (feats, *(layer.kernel for layer in layers))
    grads = torch.autograd.grad(x.feats.square().sum(), inputs)
    expected = torch.autograd.grad(dense.square().sum(), inputs)
    for got, want in zip((x.feats, *grads), (dense, *expected), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", [(3, 2, False), (2, 1, False), (5, 1, False), (3, 1, True), (1, 1, True)])
def test_a_kind_that_is_not_offered_is_refused(kind: tuple[int, int, bool]) -> None:
    kernel_size, stride, transposed = kind
    with pytest.raises(ValueError, match=r"is not offered: use \(1, 1\), \(3, 1\), or \(2, 2\)"):
        Conv3d(4, 4, kernel_size, stride, transposed)


@pytest.mark.parametrize("tile", [1, 7])
@pytest.mark.parametrize("name", ["random", "isolated", "column"])
@pytest.mark.parametrize("kind", ["submanifold", "down", "up"])
def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch, kind: str, name: str, tile: int) -> None:
    """Tiles of a few voxels: their edges, tiles without pairs, and a last tile that is not full."""
    monkeypatch.setattr(kernel_map, "CPU_TILE", tile)
    conv, x, in_coords, out_coords = build(kind, 1, scene(name), c_in=3, c_out=5)
    y = conv(x)
    expected = dense_convolve(kind, x.feats, conv.kernel, in_coords, out_coords, 1)
    got = (y.feats, *torch.autograd.grad(y.feats.square().sum(), (x.feats, conv.kernel)))
    want = (expected, *torch.autograd.grad(expected.square().sum(), (x.feats, conv.kernel)))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_feats_and_gradients_in_any_memory_layout(kind: str) -> None:
    conv, x, _, _ = build(kind, 1, scene("random"), c_in=3, c_out=5)
    y = conv(x)
    grad = torch.randn(y.feats.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = (y.feats, *torch.autograd.grad(y.feats, (x.feats, conv.kernel), grad))
    by_column = x.feats.detach().t().contiguous().t().requires_grad_()
    part = torch.cat([x.feats, x.feats, x.feats], 1).detach()[:, 3:6].requires_grad_()
    for feats in (by_column, part):
        assert not feats.is_contiguous()
        y = conv(x.with_feats(feats))
        grads = torch.autograd.grad(y.feats, (feats, conv.kernel), grad.t().contiguous().t())
        for got, want in zip((y.feats, *grads), expected, strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-12)
