from __future__ import annotations

import pytest
import torch
from scenes import SCENES, coarse_coords, scene, tensor_at
from slow_points import averaging_entries, interpolation_entries, matrix

from clusterseg.sparse import SparseTensor, point_to_voxel, voxel_to_point

STRIDES = (2, 4, 16)


def case(name: str, stride: int) -> tuple[SparseTensor, torch.Tensor, torch.Tensor]:
    """Double features of the points and of the voxels at ``stride``."""
    generator = torch.Generator().manual_seed(stride)
    points = coarse_coords(scene(name), 1)
    cells = coarse_coords(points, stride)
    feats = torch.randn(len(cells), 3, dtype=torch.float64, generator=generator, requires_grad=True)
    point_feats = torch.randn(len(points), 3, dtype=torch.float64, generator=generator, requires_grad=True)
    return tensor_at(scene(name), stride, feats), point_feats, points


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", SCENES)
def test_point_to_voxel_is_the_mean(name: str, stride: int) -> None:
    like, point_feats, points = case(name, stride)
    average = matrix(averaging_entries(points, like.coords, stride), len(like.feats), len(points))
    result = point_to_voxel(point_feats, like)
    grad = torch.randn(result.feats.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (grad_points,) = torch.autograd.grad(result.feats, point_feats, grad)
    assert torch.equal(result.coords, coarse_coords(points, stride))
    torch.testing.assert_close(result.feats, average @ point_feats, rtol=0, atol=1e-12)
    torch.testing.assert_close(grad_points, average.t() @ grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", SCENES)
def test_voxel_to_point_is_trilinear_over_the_corners_that_exist(name: str, stride: int) -> None:
    x, _, points = case(name, stride)
    interpolate = matrix(interpolation_entries(points, x.coords, stride), len(points), len(x.feats))
    result = voxel_to_point(x)
    grad = torch.randn(result.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (grad_voxels,) = torch.autograd.grad(result, x.feats, grad)
    torch.testing.assert_close(result, interpolate @ x.feats, rtol=0, atol=1e-12)
    torch.testing.assert_close(grad_voxels, interpolate.t() @ grad, rtol=0, atol=1e-12)


def test_interpolation_by_hand() -> None:
    """Two cells of side 4 along z; the point one quarter into the first one leans on both."""
    x = tensor_at(torch.tensor([[0, 0, 0, 1], [0, 0, 0, 4]]), 4, torch.tensor([[8.0], [16.0]]))
    torch.testing.assert_close(voxel_to_point(x), torch.tensor([[0.75 * 8 + 0.25 * 16], [16.0]]))
    absent = tensor_at(torch.tensor([[0, 0, 0, 1]]), 4, torch.tensor([[8.0]]))
    torch.testing.assert_close(voxel_to_point(absent), torch.tensor([[8.0]]))


@pytest.mark.parametrize("name", ["batches", "single"])
def test_stride_one_is_the_identity(name: str) -> None:
    x, point_feats, _ = case(name, 1)
    assert torch.equal(voxel_to_point(x), x.feats)
    assert torch.equal(point_to_voxel(point_feats, x).feats, point_feats)


@pytest.mark.parametrize("stride", STRIDES)
def test_scans_of_a_batch_do_not_mix(stride: int) -> None:
    """The same coordinates in two scans: features of one scan must not reach the other one."""
    one = scene("random")
    both = torch.cat([one, one + torch.tensor([1, 0, 0, 0], dtype=torch.int32)])
    cells = len(coarse_coords(one, stride))
    feats = torch.cat([torch.zeros(cells, 1), torch.ones(cells, 1)])
    points = torch.cat([torch.zeros(len(one), 1), torch.ones(len(one), 1)])
    x = tensor_at(both, stride, feats)
    assert torch.equal(voxel_to_point(x) > 0.5, points > 0.5)
    assert torch.equal(point_to_voxel(points, x).feats > 0.5, feats > 0.5)
    assert voxel_to_point(x)[: len(one)].abs().max() == 0


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize("name", ["batches", "column"])
def test_gradcheck(name: str, stride: int) -> None:
    coords = scene(name)[:30]
    cells = len(coarse_coords(coords, stride))
    x = tensor_at(coords, stride, torch.randn(cells, 2, dtype=torch.float64, requires_grad=True))
    points = torch.randn(len(coords), 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda feats: voxel_to_point(x.with_feats(feats)), x.feats)
    assert torch.autograd.gradcheck(lambda feats: point_to_voxel(feats, x).feats, points)
