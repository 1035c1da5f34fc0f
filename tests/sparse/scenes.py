"""Voxel coordinates (batch, x, y, z) for the engine's tests, in random row order."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from clusterseg.sparse import SparseTensor, sparse_tensor


def _cube(batch: int, low: int, high: int, share: float, rng: np.random.Generator) -> np.ndarray:
    axis = np.arange(low, high)
    grid = np.stack(np.meshgrid([batch], axis, axis, axis, indexing="ij"), -1).reshape(-1, 4)
    return grid[rng.random(len(grid)) < share]


def scene(name: str) -> Tensor:
    """The named scene: distinct (voxels, 4) int32 rows, shuffled."""
    rng = np.random.default_rng(7)
    if name == "random":
        coords = _cube(0, -7, 6, 0.25, rng)
    elif name == "batches":
        alone = np.array([[3, -5, 2, -1]])
        coords = np.concatenate([_cube(0, -5, 5, 0.3, rng), _cube(1, -2, 9, 0.1, rng), alone])
    elif name == "full":
        coords = _cube(0, -3, 3, 1.1, rng)
    elif name == "isolated":
        coords = _cube(0, -2, 2, 1.1, rng) * 24 + np.array([0, 1, -1, 3])
    elif name == "column":
        coords = np.array([[0, -3, 7, z] for z in range(-9, 8)])
    elif name == "single":
        coords = np.array([[0, -3, 5, -1]])
    else:
        raise KeyError(name)
    return torch.from_numpy(rng.permutation(coords)).int()


SCENES = ("random", "batches", "full", "isolated", "column", "single")


def street(voxels: int, seed: int = 0) -> Tensor:
    """Surfaces as a spinning lidar sees them: rolling ground and house walls, denser near the sensor."""
    rng = np.random.default_rng(seed)
    count = 2 * voxels
    reach = 200 * np.sqrt(voxels / 60_000)
    radius, angle = reach * rng.random(count) ** 1.5, rng.uniform(0, 2 * np.pi, count)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    ground = np.stack([x, y, 5 * np.sin(x / 60) + 4 * np.cos(y / 45) - 30], 1)
    wall = np.stack([x, np.sign(y) * (40 + 15 * (np.round(x / 40) % 3)), rng.uniform(-30, 30, count)], 1)
    points = np.where(rng.random((count, 1)) < 0.7, ground, wall)
    cells = np.unique(np.floor(points).astype(np.int32), axis=0)
    cells = rng.permutation(cells)[:voxels]
    return torch.from_numpy(np.concatenate([np.zeros((voxels, 1), np.int32), cells], 1))


def coarse_coords(coords: Tensor, stride: int) -> Tensor:
    """Distinct floor(c / stride) * stride, sorted, by Python sets and tuples."""
    cells = {(b, *(v // stride * stride for v in xyz)) for b, *xyz in coords.tolist()}
    return torch.tensor(sorted(cells), dtype=torch.int32)


def tensor_at(coords: Tensor, stride: int, feats: Tensor) -> SparseTensor:
    """The scene at ``stride``, with ``feats`` on its voxels in sorted order."""
    finest, _ = sparse_tensor(feats.new_zeros(len(coords), 1), coords)
    return finest.with_feats(feats, stride)
