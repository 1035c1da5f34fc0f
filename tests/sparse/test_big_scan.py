"""60,000 voxels, two threads, twenty times: small tests of a threaded engine pass by luck."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import coarse_coords, street, tensor_at
from slow_convolution import KINDS, pair_lists
from slow_points import averaging_entries, interpolation_entries, matrix

from clusterseg.sparse import Conv3d, point_to_voxel, sparse_tensor, voxel_to_point

VOXELS, REPETITIONS, C_IN, C_OUT = 60_000, 20, 16, 24
TOLERANCE = 1e-4

pytestmark = pytest.mark.usefixtures("two_threads")


@pytest.fixture(scope="module")
def surfaces() -> torch.Tensor:
    return street(VOXELS)


def spread(surfaces: torch.Tensor, stride: int) -> torch.Tensor:
    """One voxel anywhere in the cell that each voxel becomes at ``stride``: as many voxels at either level."""
    inside = np.random.default_rng(1).integers(0, stride, (len(surfaces), 3))
    coords = surfaces * torch.tensor([1, stride, stride, stride], dtype=torch.int32)
    coords[:, 1:] += torch.from_numpy(inside).int()
    return coords


def row_errors(got: torch.Tensor, want: np.ndarray | torch.Tensor) -> float:
    """Largest relative error over the rows (voxels, or kernel offsets), each by its Euclidean norm."""
    want = torch.as_tensor(want).flatten(1)
    error = (got.double().flatten(1) - want).norm(dim=1)
    return float((error / want.norm(dim=1)).max())


@pytest.mark.parametrize(
    ("kind", "stride"),
    [("submanifold", 1), pytest.param("submanifold", 4, marks=pytest.mark.slow), ("down", 1), ("up", 4)],
)
def test_convolution(surfaces: torch.Tensor, kind: str, stride: int) -> None:
    coords = spread(surfaces, stride)
    in_stride, out_stride = stride * (2 if kind == "up" else 1), stride * (2 if kind == "down" else 1)
    in_coords, out_coords = coarse_coords(coords, in_stride), coarse_coords(coords, out_stride)
    pairs = pair_lists(kind, in_coords, out_coords, stride)
    generator = torch.Generator().manual_seed(0)
    conv = Conv3d(C_IN, C_OUT, *KINDS[kind])
    feats = torch.randn(len(in_coords), C_IN, generator=generator, requires_grad=True)
    grad = torch.randn(len(out_coords), C_OUT, generator=generator)
    kernel = conv.kernel.detach().double().numpy()
    feats64, grad64 = feats.detach().double().numpy(), grad.double().numpy()
    expected = pairs.forward(feats64, kernel), pairs.grad_feats(grad64, kernel), pairs.grad_kernel(feats64, grad64)

    first = None
    for repetition in range(REPETITIONS):
        y = conv(tensor_at(coords, in_stride, feats))
        results = (y.feats, *torch.autograd.grad(y.feats, (feats, conv.kernel), grad))
        if first is None:
            first = results
            assert torch.equal(y.coords, out_coords)
            for what, got, want in zip(("output", "feats", "kernel"), results, expected, strict=True):
                error = row_errors(got.detach(), want)
                assert error <= TOLERANCE, f"{what}: relative error {error:.2e}"
        for what, got, want in zip(("output", "feats", "kernel"), results, first, strict=True):
            assert torch.equal(got, want), f"{what} of repetition {repetition} is not that of the first"
    assert min(len(in_coords), len(out_coords)) >= 20_000
    assert max(len(in_coords), len(out_coords)) == VOXELS


@pytest.mark.parametrize("stride", [pytest.param(4, marks=pytest.mark.slow), 16])
def test_points_and_voxels(surfaces: torch.Tensor, stride: int) -> None:
    points, cells = coarse_coords(surfaces, 1), coarse_coords(surfaces, stride)
    average = matrix(averaging_entries(points, cells, stride), len(cells), len(points))
    interpolate = matrix(interpolation_entries(points, cells, stride), len(points), len(cells))
    generator = torch.Generator().manual_seed(0)
    on_points = torch.randn(len(points), C_IN, generator=generator, requires_grad=True)
    on_cells = torch.randn(len(cells), C_IN, generator=generator, requires_grad=True)
    expected = (
        average @ on_points.detach().double(),
        interpolate @ on_cells.detach().double(),
        average.t() @ on_cells.detach().double(),
        interpolate.t() @ on_points.detach().double(),
    )
    first = None
    for _ in range(REPETITIONS // 2):
        x = tensor_at(surfaces, stride, on_cells)
        down, up = point_to_voxel(on_points, x).feats, voxel_to_point(x)
        (grad_points,) = torch.autograd.grad(down, on_points, on_cells)
        (grad_cells,) = torch.autograd.grad(up, on_cells, on_points)
        results = (down, up, grad_points, grad_cells)
        first = first or results
        assert all(torch.equal(a, b) for a, b in zip(results, first, strict=True))
    assert first is not None
    errors = [row_errors(got.detach(), want) for got, want in zip(first, expected, strict=True)]
    assert max(errors) <= TOLERANCE, errors


def test_row_order_does_not_change_a_bit(surfaces: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    conv = Conv3d(C_IN, C_OUT)
    feats = torch.randn(VOXELS, C_IN, generator=generator)
    x, rows = sparse_tensor(feats, surfaces)
    in_order = conv(x).feats[rows]
    shuffle = torch.randperm(VOXELS, generator=generator)
    x, rows = sparse_tensor(feats[shuffle], surfaces[shuffle])
    assert torch.equal(conv(x).feats[rows], in_order[shuffle])
