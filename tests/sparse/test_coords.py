from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import coarse_coords, tensor_at
from slow_convolution import pair_lists

from clusterseg.errors import UserError
from clusterseg.sparse import Conv3d, sparse_tensor, voxel_to_point
from clusterseg.sparse.coords import BATCH_LIMIT, COORD_LIMIT, coarsen, key_offset, local_position, pack, unpack

EDGES = (-COORD_LIMIT, -COORD_LIMIT + 1, -1, 0, 1, COORD_LIMIT - 1)


def random_coords(count: int, seed: int) -> torch.Tensor:
    """Coordinates over the whole range, with the edges of every field among them."""
    rng = np.random.default_rng(seed)
    xyz = rng.integers(-COORD_LIMIT, COORD_LIMIT, (count, 3))
    edge = rng.random(xyz.shape) < 0.3
    xyz[edge] = rng.choice(EDGES, int(edge.sum()))
    batch = rng.choice([0, 1, 17, BATCH_LIMIT - 1], (count, 1))
    return torch.from_numpy(np.unique(np.concatenate([batch, xyz], 1), axis=0)).int()


@pytest.mark.parametrize("seed", range(5))
def test_keys_keep_every_coordinate(seed: int) -> None:
    coords = random_coords(5_000, seed)
    keys = pack(coords)
    assert torch.equal(unpack(keys), coords)
    assert bool((keys.diff() > 0).all()), "keys must sort as (batch, x, y, z) does"
    assert int(keys.min()) >= 0


@pytest.mark.parametrize("stride", [1, 2, 16])
def test_arithmetic_on_keys_is_arithmetic_on_coordinates(stride: int) -> None:
    coords = random_coords(5_000, 0)
    keys = pack(coords)
    cells = coords.clone()
    cells[:, 1:] = coords[:, 1:].div(stride, rounding_mode="floor") * stride
    assert torch.equal(unpack(coarsen(keys, stride)), cells)
    assert torch.equal(local_position(keys, stride), (coords - cells)[:, 1:].long())
    for step in ((1, 0, 0), (0, -1, 0), (0, 0, 1), (-1, 1, -1), (1, 1, 1)):
        moved = coords + torch.tensor([0, *step], dtype=torch.int32) * stride
        offset = key_offset(*(d * stride for d in step))
        assert torch.equal(unpack(keys + offset), moved), f"moved by {step} at stride {stride}"


@pytest.mark.parametrize("stride", [1, 2, 16])
def test_voxels_at_opposite_borders_are_no_neighbours(stride: int) -> None:
    """A carry out of one field must not land on a voxel of the next one."""
    ends = (-COORD_LIMIT, COORD_LIMIT - stride)
    coords = torch.tensor(
        [[b, x, y, z] for b in (0, 1) for x in ends for y in (*ends, 0, stride) for z in ends], dtype=torch.int32
    )
    cells = coarse_coords(coords, stride)
    torch.manual_seed(0)
    conv = Conv3d(2, 2).double()
    x = tensor_at(coords, stride, torch.randn(len(cells), 2, dtype=torch.float64))
    pairs = pair_lists("submanifold", cells, cells, stride)
    expected = pairs.forward(x.feats.numpy(), conv.kernel.detach().numpy())
    torch.testing.assert_close(conv(x).feats.detach(), torch.from_numpy(expected), rtol=0, atol=1e-12)


def test_interpolation_does_not_cross_the_border() -> None:
    top = COORD_LIMIT - 1
    coords = torch.tensor(
        [[0, 0, top, top], [0, 0, -COORD_LIMIT, -COORD_LIMIT], [0, top, 0, 0], [1, -COORD_LIMIT, 0, 0]]
    )
    x, rows = sparse_tensor(torch.zeros(4, 1), coords)
    coarse = x.with_feats(torch.tensor([[1.0], [2.0], [3.0], [4.0]]), 4)
    torch.testing.assert_close(voxel_to_point(coarse)[rows].flatten(), torch.tensor([2.0, 1.0, 3.0, 4.0]))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([0, COORD_LIMIT, 0, 0], r"reach from 0 to \d+, expected .* larger voxel size"),
        ([0, 0, -COORD_LIMIT - 1, 0], r"reach from -\d+ to 0, expected .* larger voxel size"),
        ([0, 0, 0, 2**31 - 1], r"2147483647, expected .* larger voxel size"),
        ([-1, 0, 0, 0], r"batch indices -1\.\.0, expected 0\.\.511"),
        ([BATCH_LIMIT, 0, 0, 0], r"batch indices 0\.\.512, expected 0\.\.511: use smaller batches"),
        ([0, 0, 0, 0], "must be distinct: voxelise the points first"),
    ],
)
def test_bad_coordinates_are_refused_with_the_remedy(bad: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sparse_tensor(torch.zeros(2, 1), torch.tensor([[0, 0, 0, 0], bad], dtype=torch.int32))


def test_no_voxel_is_refused_with_the_remedy() -> None:
    with pytest.raises(ValueError, match="at least one voxel, got none: drop empty scans"):
        sparse_tensor(torch.zeros(0, 4), torch.zeros(0, 4, dtype=torch.int32))


def test_an_unknown_backend_is_refused_with_the_choices() -> None:
    with pytest.raises(UserError, match=r"sparse\.backend=numpy is not an engine, expected one of native"):
        sparse_tensor(torch.zeros(1, 1), torch.zeros(1, 4, dtype=torch.int32), backend="numpy")


def test_the_extreme_coordinates_are_accepted() -> None:
    coords = torch.tensor([[0] + [-COORD_LIMIT] * 3, [BATCH_LIMIT - 1] + [COORD_LIMIT - 1] * 3], dtype=torch.int32)
    x, rows = sparse_tensor(torch.tensor([[1.0], [2.0]]), coords)
    assert torch.equal(x.coords[rows], coords)
    for stride in (2, 16):
        assert torch.equal(x.with_feats(x.feats, stride).coords, coarse_coords(coords, stride))
