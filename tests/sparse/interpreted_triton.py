"""The Triton kernels in Triton's interpreter; test_engines.py runs this in a process of its own."""

from __future__ import annotations

import os

import pytest
import torch
from scenes import coarse_coords, scene, tensor_at
from slow_convolution import KINDS, pair_lists
from torch import Tensor

from clusterseg.errors import UserError
from clusterseg.sparse import Conv3d, SparseTensor, Workspace, sparse_tensor
from clusterseg.sparse.backends import get_backend, triton_kernels
from clusterseg.sparse.kernel_map import KernelMap

SPATIAL = ("submanifold", "down", "up")


def some(name: str) -> Tensor:
    """Voxels of a scene, as many as the interpreter bears: three blocks of output voxels, the last one not full."""
    return scene(name)[:150]


def case(kind: str, name: str, c_in: int, c_out: int) -> tuple[Conv3d, SparseTensor, KernelMap]:
    torch.manual_seed(0)
    conv = Conv3d(c_in, c_out, *KINDS[kind])
    torch.nn.init.normal_(conv.kernel)
    coords = some(name)
    stride = 2 if kind == "up" else 1
    x = tensor_at(coords, stride, torch.randn(len(coarse_coords(coords, stride)), c_in, requires_grad=True))
    grid = x.grid
    maps = {"submanifold": grid.submanifold, "down": grid.down, "up": lambda s: grid.down(s).transposed}
    return conv, x, maps[kind](1)


def run(engine: str, conv: Conv3d, x: SparseTensor, kernel_map: KernelMap) -> list[Tensor]:
    """Output and both gradients."""
    output = get_backend(engine).convolve(x.feats, conv.kernel, kernel_map, Workspace())
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    return [output, *torch.autograd.grad(output, (x.feats, conv.kernel), grad)]


@pytest.mark.parametrize(("c_in", "c_out"), [(3, 5), (20, 37)])
@pytest.mark.parametrize("name", ["batches", "isolated", "single"])
@pytest.mark.parametrize("kind", SPATIAL)
def test_forward_and_both_gradients(kind: str, name: str, c_in: int, c_out: int) -> None:
    parts = case(kind, name, c_in, c_out)
    for got, want in zip(run("triton", *parts), run("native", *parts), strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", SPATIAL)
def test_against_loops_over_a_dictionary(kind: str) -> None:
    conv, x, kernel_map = case(kind, "random", 5, 7)
    coords = some("random")
    fine, coarse = coarse_coords(coords, 1), coarse_coords(coords, 2)
    ends = {"submanifold": (fine, fine), "down": (fine, coarse), "up": (coarse, fine)}[kind]
    pairs = pair_lists(kind, *ends, 1)
    feats, kernel = x.feats.detach().double().numpy(), conv.kernel.detach().double().numpy()
    output, grad_feats, grad_kernel = run("triton", conv, x, kernel_map)
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).double().numpy()
    for got, want in (
        (output, pairs.forward(feats, kernel)),
        (grad_feats, pairs.grad_feats(grad, kernel)),
        (grad_kernel, pairs.grad_kernel(feats, grad)),
    ):
        torch.testing.assert_close(got.double(), torch.from_numpy(want), rtol=0, atol=1e-4)


def test_the_weight_gradient_in_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = case("down", "random", 6, 6)
    whole = run("triton", *parts)[2]
    for part in (3, 7):
        monkeypatch.setattr(triton_kernels, "PART", part)
        assert max(parts[2].counts) // part > 1
        torch.testing.assert_close(run("triton", *parts)[2], whole, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", SPATIAL)
def test_half_precision_accumulates_in_float32(kind: str) -> None:
    """Inputs that half precision holds exactly: only the result is rounded."""
    conv, x, kernel_map = case(kind, "batches", 8, 8)
    with torch.no_grad():
        conv.kernel.round_()
        x.feats.round_()
    want = run("native", conv, x, kernel_map)[0]
    with torch.autocast("cpu", dtype=torch.float16):
        got = get_backend("triton").convolve(x.feats, conv.kernel, kernel_map, Workspace())
    assert got.dtype == torch.float16
    assert torch.equal(got, want.half())


def test_one_gradient_alone_and_any_memory_layout() -> None:
    conv, x, kernel_map = case("submanifold", "random", 5, 6)
    both = run("triton", conv, x, kernel_map)
    by_column = x.with_feats(x.feats.detach().t().contiguous().t().requires_grad_())
    for got, want in zip(run("triton", conv, by_column, kernel_map), both, strict=True):
        assert torch.equal(got, want)
    conv.kernel.requires_grad_(False)
    output = get_backend("triton").convolve(x.feats, conv.kernel, kernel_map, Workspace())
    grad = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.autograd.grad(output, x.feats, grad)[0], both[1])


def test_a_whole_grid() -> None:
    coords = some("random")
    x, rows = sparse_tensor(torch.randn(len(coords), 4), coords, backend="triton")
    y, _ = sparse_tensor(x.feats[rows], coords)
    down, up = Conv3d(4, 6, 2, 2), Conv3d(6, 4, 2, 2, transposed=True)
    torch.testing.assert_close(up(down(x)).feats, up(down(y)).feats, rtol=0, atol=1e-4)


def test_float64_is_refused() -> None:
    conv, x, kernel_map = case("down", "single", 2, 2)
    with pytest.raises(UserError, match=r"triton does not compute in float64, only in float32, float16, bfloat16"):
        get_backend("triton").convolve(x.feats.double(), conv.kernel.double(), kernel_map, Workspace())


def test_without_the_interpreter_a_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    conv, x, kernel_map = case("down", "single", 2, 2)
    monkeypatch.delitem(os.environ, "TRITON_INTERPRET")
    with pytest.raises(UserError, match=r"sparse\.backend=triton on cpu: .*use sparse\.backend=auto"):
        get_backend("triton").convolve(x.feats, conv.kernel, kernel_map, Workspace())
