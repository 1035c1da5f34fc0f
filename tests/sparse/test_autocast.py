from __future__ import annotations

import pytest
import torch
from scenes import coarse_coords, street, tensor_at
from slow_convolution import KINDS

from clusterseg.sparse import Conv3d, point_to_voxel, voxel_to_point

DTYPES = [torch.bfloat16, torch.float16]
TOLERANCE = 3e-2


def relative(got: torch.Tensor, want: torch.Tensor) -> float:
    """Error of the whole tensor by its Euclidean norm."""
    return float((got.detach().float() - want.detach()).norm() / want.detach().norm())


def worst(got: torch.Tensor, want: torch.Tensor) -> float:
    """Largest error by the largest value."""
    return float((got.detach().float() - want.detach()).abs().max() / want.detach().abs().max())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("kind", "voxels"), [*((kind, 5_000) for kind in KINDS), ("submanifold", 60_000)])
def test_convolution(kind: str, voxels: int, dtype: torch.dtype) -> None:
    coords, stride = street(voxels), 2 if kind == "up" else 1
    torch.manual_seed(0)
    conv = Conv3d(48, 32, *KINDS[kind])
    feats = torch.randn(len(coarse_coords(coords, stride)), 48, requires_grad=True)
    full = conv(tensor_at(coords, stride, feats)).feats
    with torch.autocast("cpu", dtype=dtype):
        half = conv(tensor_at(coords, stride, feats)).feats
    assert full.dtype == torch.float32
    assert half.dtype == dtype
    grad = torch.randn_like(full)
    expected = (full, *torch.autograd.grad(full, (feats, conv.kernel), grad))
    results = (half, *torch.autograd.grad(half, (feats, conv.kernel), grad.to(dtype)))
    assert [r.dtype for r in results[1:]] == [torch.float32, torch.float32]
    for what, got, want in zip(("output", "feats", "kernel"), results, expected, strict=True):
        errors = relative(got, want), worst(got, want)
        assert max(errors) <= TOLERANCE, f"{what}: {errors}"
        assert not torch.equal(got.float(), want), f"{what} was not computed in {dtype}"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("stride", [4, 16])
def test_points_and_voxels(stride: int, dtype: torch.dtype) -> None:
    coords = street(5_000)
    torch.manual_seed(0)
    points = torch.randn(5_000, 32, requires_grad=True)
    feats = torch.randn(len(coarse_coords(coords, stride)), 32, requires_grad=True)

    def there_and_back(dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
        x = tensor_at(coords, stride, feats.to(dtype))
        down, up = point_to_voxel(points.to(dtype), x).feats, voxel_to_point(x)
        assert down.dtype == up.dtype == dtype
        return (
            down,
            up,
            *torch.autograd.grad((down.float().square().sum() + up.float().square().sum()), (points, feats)),
        )

    with torch.autocast("cpu", dtype=dtype):
        results = there_and_back(dtype)
    for got, want in zip(results, there_and_back(torch.float32), strict=True):
        assert max(relative(got, want), worst(got, want)) <= TOLERANCE
