"""What the Triton engine hands to its kernels, with loops in the place of the kernels: Triton is not needed."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from scenes import scene, tensor_at
from torch import Tensor

from clusterseg.sparse import Workspace
from clusterseg.sparse.backends import get_backend
from clusterseg.sparse.backends import triton as engine
from clusterseg.sparse.kernel_map import KernelMap

RESERVED = {"num_warps", "num_stages"}
MODULE = "clusterseg.sparse.backends.triton_kernels"
Values = dict[str, Any]


class Kernel:
    """A kernel that binds its arguments as Triton does and computes with loops."""

    def __init__(self, function: Callable[..., None], not_specialized: list[str]) -> None:
        self.signature = inspect.signature(function)
        assert set(not_specialized) <= set(self.signature.parameters)
        self.compute = {"_gather_multiply": gather_multiply, "_sum_outer_products": sum_outer_products}[
            function.__name__
        ]
        self.launches: list[tuple[tuple[int, ...], Values]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*given: Any, **named: Any) -> None:
            assert named.keys() >= RESERVED
            bound = self.signature.bind(*given, **{k: v for k, v in named.items() if k not in RESERVED}).arguments
            self.launches.append((grid, bound))
            self.compute(bound)

        return launch


def gather_multiply(v: Values) -> None:
    weight = torch.as_strided(
        v["weight"], (v["offsets"], v["c_in"], v["c_out"]), (v["stride_k"], v["stride_i"], v["stride_o"])
    )
    for row in range(v["num_out"]):
        total = torch.zeros(v["c_out"], dtype=torch.float64)
        for k in range(v["offsets"]):
            source = int(v["table"][k, row])
            if source >= 0:
                total += v["feats"][source].double() @ weight[k].double()
        v["output"][int(v["order"][row])] = total.to(v["output"].dtype)


def sum_outer_products(v: Values) -> None:
    """Each offset's pairs go whole into the first part."""
    v["partial"].zero_()
    for k in range(v["offsets"]):
        for pair in range(int(v["starts"][k]), int(v["starts"][k + 1])):
            rows = v["feats"][v["in_rows"][pair]].float(), v["grad"][v["out_rows"][pair]].float()
            v["partial"][0, k] += torch.outer(*rows)


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The module of the kernels, imported with a stand-in for Triton."""
    triton, language, errors = (ModuleType(name) for name in ("triton", "triton.language", "triton.runtime.errors"))
    triton.__version__ = "0"  # type: ignore[attr-defined]
    triton.cdiv = lambda a, b: -(-a // b)  # type: ignore[attr-defined]
    triton.jit = lambda do_not_specialize: lambda function: Kernel(function, do_not_specialize)  # type: ignore[attr-defined]
    triton.language = language  # type: ignore[attr-defined]
    language.constexpr = object  # type: ignore[attr-defined]
    errors.OutOfResources = errors.PTXASError = MemoryError  # type: ignore[attr-defined]
    for name, module in (("triton", triton), ("triton.language", language), ("triton.runtime.errors", errors)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "triton.runtime", ModuleType("triton.runtime"))
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    monkeypatch.delattr("clusterseg.sparse.backends.triton_kernels", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(engine, "require_cuda", lambda *_: None)
    module = importlib.import_module(MODULE)
    times = iter(range(100, 0, -1))  # the last candidate is the fastest

    def seconds(launch: Callable[[], None]) -> float:
        launch()
        return float(next(times))

    monkeypatch.setattr(module, "_seconds", seconds)
    yield module
    sys.modules.pop(MODULE, None)
    vars(sys.modules["clusterseg.sparse.backends"]).pop("triton_kernels", None)


def case(kind: str) -> tuple[Tensor, Tensor, KernelMap]:
    torch.manual_seed(0)
    coords = scene("batches")[:40]
    grid = tensor_at(coords, 1, torch.zeros(len(coords), 1)).grid
    kernel_map = {"submanifold": grid.submanifold(1), "down": grid.down(1), "up": grid.down(1).transposed}[kind]
    weight = torch.randn(len(kernel_map.counts), 3, 40, requires_grad=True)
    return torch.randn(kernel_map.num_in, 3, requires_grad=True), weight, kernel_map


@pytest.mark.parametrize("kind", ["submanifold", "down", "up"])
def test_output_and_both_gradients(kernels: ModuleType, kind: str, tmp_path: Path) -> None:
    feats, weight, kernel_map = case(kind)
    want = get_backend("native").convolve(feats, weight, kernel_map, Workspace())
    grad = torch.randn(want.shape)
    expected = torch.autograd.grad(want, (feats, weight), grad)
    backend = get_backend("triton")
    backend.prepare(kernel_map)
    for _ in range(2):
        got = backend.convolve(feats, weight, kernel_map, Workspace())
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4)
        for a, b in zip(torch.autograd.grad(got, (feats, weight), grad), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
    grids = [(grid, values["VOXELS"], values["OUTPUTS"]) for grid, values in kernels._gather_multiply.launches]
    for (grid, values), (_, rows, columns) in zip(kernels._gather_multiply.launches, grids, strict=True):
        assert grid[0] * rows >= values["num_out"] > (grid[0] - 1) * rows
        assert grid[1] * columns >= values["c_out"] > (grid[1] - 1) * columns
    tried = [block for block in kernels.BLOCKS if block.outputs <= 64]
    forward = [values for _, values in kernels._gather_multiply.launches if values["c_out"] == 40]
    assert len(forward) == len(tried) + 2, "timed at its first use, then launched once a call"
    assert (forward[-1]["VOXELS"], forward[-1]["OUTPUTS"]) == (tried[-1].rows, tried[-1].outputs)
    text = (tmp_path / "clusterseg_blocks.json").read_text()
    assert all(use in text for use in ("forward", "input_gradient", "weight_gradient"))


def test_another_process_does_not_time_again(kernels: ModuleType) -> None:
    feats, weight, kernel_map = case("down")
    for expected in (len([b for b in kernels.BLOCKS if b.outputs <= 64]) + 1, 1):
        kernels._gather_multiply.launches.clear()
        kernels._tuner.cache_clear()
        get_backend("triton").convolve(feats, weight, kernel_map, Workspace())
        assert len(kernels._gather_multiply.launches) == expected
