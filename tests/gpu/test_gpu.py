"""What only a GPU can show: `pytest -m gpu`; skipped where there is none."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from benchmarks.engine import Case, error, finest_map
from benchmarks.gpu.waits import waits
from benchmarks.scans import Voxels, batch, cloud, street
from benchmarks.steps import evaluation, head_of, network, training_step
from clusterseg.sparse import BatchNorm, sparse_tensor
from clusterseg.sparse.backends.auto import engine_for
from clusterseg.sparse.kernel_map import KernelMap

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no GPU on this machine"),
]
CUDA, CPU = torch.device("cuda"), torch.device("cpu")
ENGINES = ["native", *(name for name in ("triton",) if importlib.util.find_spec(name) is not None)]


@pytest.fixture(scope="module")
def scan() -> Voxels:
    return street(beams=32, azimuths=500, voxel_size=0.1)


def maps(voxels: Voxels, device: torch.device) -> dict[str, KernelMap]:
    grid = sparse_tensor(voxels.feats.to(device), voxels.coords.to(device))[0].grid
    return {"submanifold": grid.submanifold(1), "down": grid.down(1), "up": grid.down(1).transposed}


@pytest.mark.parametrize("kind", ["submanifold", "down", "up"])
def test_maps_are_those_of_the_cpu(scan: Voxels, kind: str) -> None:
    ours, theirs = (maps(scan, device)[kind] for device in (CUDA, CPU))
    assert ours.counts == theirs.counts
    assert torch.equal(ours.in_rows.cpu(), theirs.in_rows)
    assert torch.equal(ours.out_rows.cpu(), theirs.out_rows)


@pytest.mark.parametrize("channels", [4, 24, 96])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["submanifold", "down", "up"])
@pytest.mark.parametrize("engine", ENGINES)
def test_output_and_both_gradients(scan: Voxels, engine: str, kind: str, dtype: torch.dtype, channels: int) -> None:
    """Against the native engine on the CPU in float32."""
    want = Case("native", torch.float32, channels, maps(scan, CPU)[kind]).step()
    case = Case(engine, dtype, channels, maps(scan, CUDA)[kind])
    found = error(tuple(part.cpu() for part in case.step()), want)
    assert found <= {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 5e-3}[dtype]


@pytest.mark.parametrize("engine", ENGINES)
def test_an_engine_repeats_its_bits(scan: Voxels, engine: str) -> None:
    case = Case(engine, torch.float32, 32, finest_map(scan.to(CUDA)))
    first = case.step()
    for _ in range(10):
        assert all(torch.equal(a, b) for a, b in zip(case.step(), first, strict=True))


@pytest.mark.parametrize("size", [1, 2, 63, 65, 5000])
@pytest.mark.parametrize("engine", ENGINES)
def test_any_number_of_voxels(scan: Voxels, engine: str, size: int) -> None:
    voxels = cloud(scan, size)
    want = Case("native", torch.float32, 20, finest_map(voxels)).step()
    got = Case(engine, torch.float32, 20, finest_map(voxels.to(CUDA))).step()
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_network_is_that_of_the_cpu(scan: Voxels, engine: str) -> None:
    want = evaluation(network("spvnas_small"), scan)()
    got = evaluation(network("spvnas_small", engine).to(CUDA), scan.to(CUDA))()
    torch.testing.assert_close(got.cpu(), want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_training_step_with_the_head(scan: Voxels, engine: str, dtype: torch.dtype | None) -> None:
    voxels = batch([scan, scan]).to(CUDA)
    model = network("spvnas_small", engine).to(CUDA)
    loss = training_step(model, voxels, head_of(model).to(CUDA), dtype)()
    assert bool(loss.isfinite())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_the_host_does_not_wait_in_a_convolution(scan: Voxels) -> None:
    for engine in ENGINES:
        case = Case(engine, torch.float32, 32, finest_map(scan.to(CUDA)))
        case.step()  # plans, tiles, tuning
        assert waits(case.step, CUDA).total == 0, engine


def test_batch_norm_in_half_precision(scan: Voxels) -> None:
    feats = torch.randn(len(scan), 32, device=CUDA)
    norm = BatchNorm(32).to(CUDA)
    with torch.autocast("cuda", torch.bfloat16):
        found = norm(feats.bfloat16())
    assert float((found.float() - norm(feats)).abs().max()) < 0.1


def test_auto_takes_an_engine_that_is_there() -> None:
    assert engine_for(CUDA) in ENGINES
