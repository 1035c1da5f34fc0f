"""Choosing an engine; the Triton kernels in the interpreter; what TorchSparse and spconv are given.

TorchSparse and spconv compute on CUDA only: loops over the pairs, as their sources define them, stand in for both.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from scenes import scene, tensor_at
from torch import Tensor

from clusterseg.backbone import MinkUNet
from clusterseg.errors import UserError
from clusterseg.sparse import Conv3d, Workspace, sparse_tensor
from clusterseg.sparse.backends import get_backend
from clusterseg.sparse.backends.auto import engine_for
from clusterseg.sparse.backends.native import NativeBackend
from clusterseg.sparse.kernel_map import KernelMap

HAS_TRITON = importlib.util.find_spec("triton") is not None
CUDA = torch.device("cuda")


@pytest.mark.skipif(not HAS_TRITON, reason="Triton is not installed; it comes with PyTorch for CUDA")
def test_triton_in_its_interpreter() -> None:
    """In a process of its own: the interpreter must be switched on before Triton is first imported."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", str(Path(__file__).with_name("interpreted_triton.py"))],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_an_unknown_engine_is_refused_when_the_network_is_built() -> None:
    with pytest.raises(
        UserError, match=r"sparse\.backend=numpy is not an engine, expected one of native, compiled, triton"
    ):
        MinkUNet(0.1, backend="numpy")


@pytest.mark.parametrize("name", ["triton", "torchsparse", "spconv"])
def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "clusterseg.sparse.backends.triton_kernels", raising=False)
    monkeypatch.delattr("clusterseg.sparse.backends.triton_kernels", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"sparse\.backend={name} cannot be imported .*sparse\.backend=auto"):
        get_backend(name)


def test_auto_takes_the_engine_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for built in (True, False):
        monkeypatch.setattr("clusterseg.sparse.backends.auto.is_built", lambda built=built: built)
        assert engine_for(torch.device("cpu")) == ("compiled" if built else "native")
        assert engine_for(CUDA) == "native", "Triton by name only, until it has run on a GPU"


@pytest.mark.parametrize("kind", ["submanifold", "down", "up"])
def test_auto_is_the_engine_of_a_cpu(kind: str) -> None:
    feats, weight, kernel_map = case(kind)
    names = ("auto", engine_for(torch.device("cpu")))
    got, want = (get_backend(name).convolve(feats, weight, kernel_map, Workspace()) for name in names)
    assert torch.equal(got, want)


def test_auto_through_a_whole_tensor() -> None:
    coords = scene("random")
    feats, conv = torch.randn(len(coords), 3), Conv3d(3, 4)
    names = ("auto", engine_for(torch.device("cpu")))
    got, want = (conv(sparse_tensor(feats, coords, name)[0]).feats for name in names)
    assert torch.equal(got, want)


def torchsparse_like(calls: list[Any]) -> ModuleType:
    """Its gather_scatter function: pairs (input, output), offset by offset; column 0 is the input unless transposed."""

    class Function:
        @staticmethod
        def apply(feats: Tensor, weight: Tensor, table: dict[str, Any], config: dict, transposed: bool) -> Tensor:
            calls.append((feats.dtype, table))
            assert not transposed
            assert table["nbmaps"].dtype == table["nbsizes"].dtype == torch.int32
            output = feats.new_zeros(table["sizes"][1], weight.shape[2])
            assert feats.shape[0] == table["sizes"][0]
            for pairs, kernel in zip(table["nbmaps"].long().split(table["nbsizes"].tolist()), weight, strict=True):
                output = output.index_add(0, pairs[:, 1], feats[pairs[:, 0]] @ kernel)
            return output

    module = ModuleType("gather_scatter")
    module.GatherScatterConvolutionFuntion = Function  # type: ignore[attr-defined]
    return module


def spconv_like(calls: list[Any]) -> ModuleType:
    """Its function with algorithm Native: filters (C_out, side, side, side, C_in), lists filled up by -1."""

    class Function:
        @staticmethod
        def apply(feats: Tensor, filters: Tensor, pairs: Tensor, counts: Tensor, num_out: int, algo: str) -> Tensor:
            calls.append((feats.dtype, pairs))
            assert algo == "native algorithm"
            assert filters.is_contiguous()
            assert filters.shape[1] == filters.shape[2] == filters.shape[3] in (2, 3)
            assert pairs.dtype == counts.dtype == torch.int32
            output = feats.new_zeros(num_out, filters.shape[0])
            kernels = filters.reshape(filters.shape[0], -1, filters.shape[-1])
            for k, count in enumerate(counts.tolist()):
                assert (pairs[:, k, count:] == -1).all()
                i, o = pairs[:, k, :count].long()
                output = output.index_add(0, o, feats[i] @ kernels[:, k].T)
            return output

    module = ModuleType("functional")
    module.SparseConvFunction = Function  # type: ignore[attr-defined]
    return module


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], list[Any]]:
    """Put a stand-in in the place of a package; its calls are listed. Unless told, the CPU passes for CUDA."""

    def put(name: str, as_cuda: bool = True) -> list[Any]:
        calls: list[Any] = []
        if name == "torchsparse":
            parts = ["torchsparse", "nn", "functional", "conv", "func"]
            for i in range(1, len(parts) + 1):
                monkeypatch.setitem(sys.modules, ".".join(parts[:i]), ModuleType(".".join(parts[:i])))
            monkeypatch.setattr(sys.modules[".".join(parts)], "gather_scatter", torchsparse_like(calls), raising=False)
        else:
            core, pytorch = ModuleType("spconv.core"), ModuleType("spconv.pytorch")
            core.ConvAlgo = SimpleNamespace(Native="native algorithm")  # type: ignore[attr-defined]
            pytorch.functional = spconv_like(calls)  # type: ignore[attr-defined]
            for key, module in (("spconv", ModuleType("spconv")), ("spconv.core", core), ("spconv.pytorch", pytorch)):
                monkeypatch.setitem(sys.modules, key, module)
        if as_cuda:
            monkeypatch.setattr(f"clusterseg.sparse.backends.{name}.require_cuda", lambda *arguments: None)
        return calls

    return put


def case(kind: str) -> tuple[Tensor, Tensor, KernelMap]:
    torch.manual_seed(0)
    coords = scene("batches")
    finest = tensor_at(coords, 1, torch.zeros(len(coords), 1))
    kernel_map = finest.grid.submanifold(1) if kind == "submanifold" else finest.grid.down(1)
    kernel_map = kernel_map.transposed if kind == "up" else kernel_map
    weight = torch.randn(len(kernel_map.counts), 3, 5, requires_grad=True)
    return torch.randn(kernel_map.num_in, 3, requires_grad=True), weight, kernel_map


@pytest.mark.parametrize("kind", ["submanifold", "down", "up"])
@pytest.mark.parametrize("name", ["torchsparse", "spconv"])
def test_an_engine_is_given_the_same_convolution(stand_in: Callable, name: str, kind: str) -> None:
    calls = stand_in(name)
    feats, weight, kernel_map = case(kind)
    want = NativeBackend().convolve(feats, weight, kernel_map, Workspace())
    grad = torch.randn(want.shape)
    for _ in range(2):
        got = get_backend(name).convolve(feats, weight, kernel_map, Workspace())
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
    expected = torch.autograd.grad(want, (feats, weight), grad)
    for a, b in zip(torch.autograd.grad(got, (feats, weight), grad), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
    assert calls[0][1] is calls[1][1], "the table is made once for a map"


@pytest.mark.parametrize("name", ["torchsparse", "spconv"])
def test_what_an_engine_cannot_do_is_refused(stand_in: Callable, name: str) -> None:
    calls = stand_in(name)
    feats, weight, kernel_map = case("down")
    with torch.autocast("cpu", dtype=torch.float16):
        get_backend(name).convolve(feats, weight, kernel_map, Workspace())
    assert calls[0][0] == torch.float16
    with (
        torch.autocast("cpu", dtype=torch.bfloat16),
        pytest.raises(UserError, match=rf"{name} does not compute in bfloat16, only in float32, float16: set trainer"),
    ):
        get_backend(name).convolve(feats, weight, kernel_map, Workspace())


@pytest.mark.parametrize("name", ["torchsparse", "spconv"])
def test_an_engine_refuses_the_cpu(stand_in: Callable, name: str) -> None:
    calls = stand_in(name, as_cuda=False)
    with pytest.raises(UserError, match=rf"sparse\.backend={name} on cpu: its CPU code .*use sparse\.backend=auto"):
        get_backend(name).convolve(*case("down"), Workspace())
    assert not calls
