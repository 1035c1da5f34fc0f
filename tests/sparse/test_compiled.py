"""The compiled engine against dense convolution in float64, and against the native engine at the size of a scan."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from scenes import SCENES, coarse_coords, scene, street, tensor_at
from slow_convolution import KINDS, dense_convolve
from torch import nn

from clusterseg import compiled
from clusterseg.errors import UserError
from clusterseg.sparse import BatchNorm, Conv3d, Workspace, sparse_tensor
from clusterseg.sparse.backends import get_backend
from clusterseg.sparse.backends.native import NativeBackend
from clusterseg.sparse.kernel_map import submanifold_map

FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra", "-Werror")
SOURCES = sorted(str(path) for path in compiled.LIBRARY.parent.glob("*.c"))

needs_library = pytest.mark.skipif(not compiled.is_built(), reason="the compiled engine was not built: no C compiler")


@pytest.fixture(params=["as built", "plain"])
def variant(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The library for this processor, and the one for processors without AVX2."""
    if request.param == "plain":
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler")
        library = tmp_path / "libclusterseg.so"
        subprocess.run([compiler, *FLAGS, "-DCLUSTERSEG_PLAIN", "-o", str(library), *SOURCES], check=True)
        monkeypatch.setattr(compiled, "LIBRARY", library)
        compiled.library.cache_clear()
    yield request.param
    compiled.library.cache_clear()


@needs_library
@pytest.mark.parametrize("channels", [(3, 5), (16, 32), (50, 19), (1, 97)])
@pytest.mark.parametrize("kind", ["submanifold", "down", "up"])
def test_forward_and_gradients_equal_dense_convolution(variant: str, kind: str, channels: tuple[int, int]) -> None:
    for name in SCENES if channels == (3, 5) else ("random", "single"):
        for stride in (1, 4):
            _compare_with_dense(kind, scene(name), stride, *channels)


def _compare_with_dense(kind: str, coords: torch.Tensor, stride: int, c_in: int, c_out: int) -> None:
    generator = torch.Generator().manual_seed(stride)
    in_coords = coarse_coords(coords, 2 * stride if kind == "up" else stride)
    out_coords = coarse_coords(coords, 2 * stride if kind == "down" else stride)
    conv = Conv3d(c_in, c_out, *KINDS[kind])
    torch.nn.init.normal_(conv.kernel, generator=generator)
    feats = torch.randn(len(in_coords), c_in, generator=generator, requires_grad=True)
    x, _ = sparse_tensor(torch.zeros(len(coords), 1), coords, "compiled")
    x = x.with_feats(feats, 2 * stride if kind == "up" else stride)
    kernel_map, _ = conv._map(x)
    y = get_backend("compiled").convolve(feats, conv.kernel, kernel_map, Workspace())
    grad = torch.randn(y.shape, generator=generator)
    got = (y, *torch.autograd.grad(y, (feats, conv.kernel), grad))

    exact = feats.detach().double().requires_grad_(), conv.kernel.detach().double().requires_grad_()
    want_y = dense_convolve(kind, *exact, in_coords, out_coords, stride)
    want = (want_y, *torch.autograd.grad(want_y, exact, grad.double()))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=3e-6 * max(1.0, float(b.detach().abs().max())))


@needs_library
@pytest.mark.parametrize("stride", [1, 2, 8])
@pytest.mark.parametrize("name", [*SCENES, "street"])
def test_its_map_is_that_of_the_search(name: str, stride: int) -> None:
    coords = street(20_000) if name == "street" else scene(name)
    keys = tensor_at(coords, 1, torch.zeros(len(coords), 1)).grid.keys(stride)
    got, want = get_backend("compiled").build_map(keys, stride), submanifold_map(keys, stride)
    assert (got.counts, got.num_in, got.center) == (want.counts, want.num_in, want.center)
    assert torch.equal(got.in_rows, want.in_rows)
    assert torch.equal(got.out_rows, want.out_rows)


@needs_library
@pytest.mark.parametrize("kind", ["submanifold", "down", "up"])
def test_a_scan_on_any_number_of_threads(kind: str) -> None:
    """Bit for bit, and as the native engine in float64: 30,000 voxels, often."""
    coords = street(30_000)
    x, _ = sparse_tensor(torch.zeros(len(coords), 1), coords)
    kernel_map = x.grid.submanifold(1) if kind == "submanifold" else x.grid.down(1)
    kernel_map = kernel_map.transposed if kind == "up" else kernel_map
    torch.manual_seed(0)
    feats = torch.randn(kernel_map.num_in, 16, requires_grad=True)
    weight = torch.randn(len(kernel_map.counts), 16, 24, requires_grad=True)
    grad = torch.randn(kernel_map.num_out, 24)
    found = []
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 5, 5, 2):
            torch.set_num_threads(number)
            y = get_backend("compiled").convolve(feats, weight, kernel_map, Workspace())
            found.append((y.detach(), *torch.autograd.grad(y, (feats, weight), grad)))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    exact = feats.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    want = NativeBackend().convolve(*exact, kernel_map, Workspace())
    for a, b in zip(found[0], (want, *torch.autograd.grad(want, exact, grad.double())), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=2e-6 * float(b.detach().abs().max()))


@needs_library
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("kind", ["submanifold", "down", "up"])
def test_bias_and_relu(variant: str, kind: str, relu: bool) -> None:
    x = tensor_at(scene("batches"), 1, torch.zeros(len(scene("batches")), 1))
    kernel_map = x.grid.submanifold(1) if kind == "submanifold" else x.grid.down(1)
    kernel_map = kernel_map.transposed if kind == "up" else kernel_map
    feats, bias = torch.randn(kernel_map.num_in, 7), torch.randn(21)
    weight = torch.randn(len(kernel_map.counts), 7, 21)
    got, want = (
        get_backend(n).infer(feats, weight, bias, relu, kernel_map, Workspace()) for n in ("compiled", "native")
    )
    torch.testing.assert_close(got, want, rtol=0, atol=2e-5)
    assert (bool((got < 0).any())) != relu


@needs_library
def test_rows_that_lie_apart() -> None:
    x = tensor_at(scene("random"), 1, torch.zeros(len(scene("random")), 1))
    kernel_map = x.grid.submanifold(1)
    feats = torch.randn(kernel_map.num_in, 20)[:, ::2]
    weight = torch.randn(27, 8, 10).transpose(1, 2).requires_grad_()
    leaf = feats.clone().requires_grad_()
    found = []
    for name in ("compiled", "native"):
        y = get_backend(name).convolve(leaf[:, :], weight, kernel_map, Workspace())
        found.append((y, *torch.autograd.grad(y.sum(1).expand(8, -1).T, (leaf, weight), torch.ones(len(y), 8))))
        torch.testing.assert_close(get_backend(name).convolve(feats, weight, kernel_map, Workspace()), y)
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=3e-6 * float(b.detach().abs().max()))


@needs_library
def test_other_types_go_to_the_native_engine() -> None:
    x = tensor_at(scene("random"), 1, torch.zeros(len(scene("random")), 1))
    feats, weight = torch.randn(kernel_rows := len(x.feats), 4), torch.randn(27, 4, 4)
    kernel_map = x.grid.submanifold(1)
    assert kernel_map.num_in == kernel_rows
    engines = get_backend("compiled"), get_backend("native")
    got, want = (engine.convolve(feats.double(), weight.double(), kernel_map, Workspace()) for engine in engines)
    assert got.dtype == torch.float64 and torch.equal(got, want)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, want = (engine.convolve(feats, weight, kernel_map, Workspace()) for engine in engines)
    assert got.dtype == torch.bfloat16 and torch.equal(got, want)


@pytest.mark.parametrize("fault", ["absent", "not a library", "of other sources"])
def test_alibrary_that_cannot_be_used(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "libclusterseg.so"
    if fault == "not a library":
        library.write_text("x")
    if fault == "of other sources":
        if not compiled.is_built():
            pytest.skip("the compiled engine was not built: no C compiler")
        shutil.copy(compiled.LIBRARY, library)
        monkeypatch.setattr(compiled, "INTERFACE", -1)
    monkeypatch.setattr(compiled, "LIBRARY", library)
    for cached in (compiled.library, compiled.is_built):
        cached.cache_clear()
    try:
        with pytest.raises(UserError, match=r"sparse\.backend=compiled: .*libclusterseg\.so cannot be used .*=native"):
            get_backend("compiled")
        assert not compiled.is_built()
    finally:
        for cached in (compiled.library, compiled.is_built):
            cached.cache_clear()


@needs_library
def test_no_memory_is_an_error() -> None:
    with pytest.raises(MemoryError, match="no scratch memory for keep_voxels"):
        compiled.call("keep_voxels", *[torch.arange(3)] * 9, 2**50, 1)


@needs_library
@pytest.mark.parametrize("rows", [2, 255, 256, 700])
@pytest.mark.parametrize("channels", [1, 19, 32])
def test_norm_and_relu_equal_two_layers_in_float64(variant: str, rows: int, channels: int) -> None:
    torch.manual_seed(rows)
    ours, reference = BatchNorm(channels), nn.Sequential(nn.BatchNorm1d(channels), nn.ReLU()).double()
    for tensor in (ours.weight, ours.bias):
        nn.init.normal_(tensor)
    reference[0].load_state_dict(ours.state_dict())
    feats, grad = 3 * torch.randn(rows, channels) + 1, torch.randn(channels, rows).T  # a gradient with other strides
    wide = feats.double().requires_grad_()
    expected = reference(wide)
    expected_grads = torch.autograd.grad(expected, [wide, *reference.parameters()], grad.double())
    out = ours(feats.requires_grad_(), relu=True)
    torch.testing.assert_close(out, expected.float(), rtol=1e-4, atol=1e-5)
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(torch.autograd.grad(out, [feats, *ours.parameters()], grad, retain_graph=True))
    torch.set_num_threads(1)
    for mine, other, with_three in zip(found[0], expected_grads, found[1], strict=True):
        assert torch.equal(mine, with_three), "the sums depend on the number of threads"
        torch.testing.assert_close(mine, other.float(), rtol=1e-4, atol=1e-5 * rows**0.5)


@needs_library
def test_norm_and_relu_keep_a_nan(variant: str) -> None:
    feats = torch.randn(300, 4)
    feats[7, 2] = torch.nan
    out = BatchNorm(4)(feats.requires_grad_(), relu=True)
    (grad,) = torch.autograd.grad(out, feats, torch.ones_like(out))
    for values in (out.detach(), grad):
        assert values[:, 2].isnan().all() and not values[:, [0, 1, 3]].isnan().any()
