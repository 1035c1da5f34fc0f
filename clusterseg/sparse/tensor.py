"""The sparse tensor and the grid that its levels share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clusterseg.sparse.backends import Backend, get_backend
from clusterseg.sparse.coords import coarsen, pack, unpack
from clusterseg.sparse.kernel_map import KernelMap, downsample_map
from clusterseg.sparse.workspace import Workspace


class Grid:
    """Voxels of one batch at every stride, with the kernel maps between them.

    A grid lives as long as the tensors of one forward pass: maps are built on first use and shared by all layers.

    Args:
        keys: Sorted, distinct voxel keys of the finest level.
        backend: The engine that builds maps and convolves.
        workspace: Scratch memory of the engine.
        given_rows: For each voxel as it was given its row in `keys`, or None where they were given sorted.
    """

    def __init__(
        self,
        keys: Int[Tensor, " voxels"],
        backend: Backend,
        workspace: Workspace,
        given_rows: Int[Tensor, " voxels"] | None = None,
    ) -> None:
        self.backend = backend
        self._given_rows = given_rows
        self.workspace = workspace
        self._keys = {1: keys}
        self._parents: dict[int, Tensor] = {}
        self._scans: dict[int, Tensor] = {}
        self._maps: dict[tuple[str, int], KernelMap] = {}
        #: What is built ahead of its use, by kind and stride; taken out when it is used.
        self.ahead: dict[tuple[str, int], Any] = {}

    def in_given_order(self, feats: Float[Tensor, "voxels channels"]) -> Float[Tensor, "voxels channels"]:
        """Features of the finest level in the order in which the voxels were given."""
        return feats if self._given_rows is None else feats[self._given_rows]

    def keys(self, stride: int) -> Int[Tensor, " voxels"]:
        """Sorted keys of the voxels at `stride`, made by halving the level below where needed."""
        if stride not in self._keys:
            fine = self.keys(stride // 2)
            coarse, parents = torch.unique(coarsen(fine, stride), sorted=True, return_inverse=True)
            self._keys[stride], self._parents[stride // 2] = coarse, parents
        return self._keys[stride]

    def scans(self, stride: int) -> Int[Tensor, " voxels"]:
        """For each voxel at `stride` its scan within the batch, ascending."""
        if stride not in self._scans:
            self._scans[stride] = unpack(self.keys(stride))[:, 0].long()
        return self._scans[stride]

    def rows_at(self, stride: int) -> Int[Tensor, " voxels"]:
        """For each voxel of the finest level, the row of the voxel at `stride` that holds it."""
        rows = torch.arange(self._keys[1].numel(), device=self._keys[1].device)
        level = 1
        while level < stride:
            self.keys(2 * level)
            rows = self._parents[level][rows]
            level *= 2
        return rows

    def build(self, levels: int) -> None:
        """Build all maps of a U-Net before its layers run.

        Their sizes depend on the data, so on a GPU the host waits for the device. Here it has little to wait for;
        between layers it would wait for all that was launched before.

        Args:
            levels: Strides 1, 2, 4, ..., so many of them.
        """
        strides = [2**level for level in range(levels)]
        for stride in strides:
            self.backend.prepare(self.submanifold(stride))
        for stride in strides[:-1]:
            self.backend.prepare(self.down(stride))
            self.backend.prepare(self.down(stride).transposed)

    def submanifold(self, stride: int) -> KernelMap:
        """The 3x3x3 map at `stride`."""
        if ("submanifold", stride) not in self._maps:
            self._maps["submanifold", stride] = self.backend.build_map(self.keys(stride), stride)
        return self._maps["submanifold", stride]

    def down(self, stride: int) -> KernelMap:
        """The 2x2x2 stride-2 map from `stride` to `2 * stride`."""
        if ("down", stride) not in self._maps:
            coarse = self.keys(2 * stride)
            fine, parents = self._keys[stride], self._parents[stride]
            self._maps["down", stride] = downsample_map(fine, parents, coarse.numel(), stride)
        return self._maps["down", stride]


@dataclass(frozen=True)
class SparseTensor:
    """Features on the occupied voxels of a batch, in the order of their sorted coordinates.

    Attributes:
        feats: (voxels, channels).
        grid: Coordinates and kernel maps, shared by all levels of one forward pass.
        stride: Voxel side in units of the finest grid.

    Examples:
        >>> tensor, _ = sparse_tensor(torch.ones(2, 3), torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0]]))
        >>> doubled = tensor.map(lambda feats: 2 * feats)
        >>> doubled.feats.sum(), doubled.grid is tensor.grid
        (tensor(12.), True)
    """

    feats: Float[Tensor, "voxels channels"]
    grid: Grid
    stride: int = 1

    @cached_property
    def coords(self) -> Int[Tensor, "voxels 4"]:
        """(batch, x, y, z) int32, in units of the finest grid at every stride."""
        return unpack(self.grid.keys(self.stride))

    def with_feats(self, feats: Float[Tensor, "voxels channels"], stride: int | None = None) -> SparseTensor:
        """The same voxels, or those at `stride`, with other features."""
        return replace(self, feats=feats, stride=stride or self.stride)

    def map(self, function: Callable[[Tensor], Tensor]) -> SparseTensor:
        """Apply a function of (voxels, channels) features, such as a BatchNorm or an activation."""
        return self.with_feats(function(self.feats))


def sparse_tensor(
    feats: Float[Tensor, "voxels channels"],
    coords: Int[Tensor, "voxels 4"],
    backend: str = "native",
    workspace: Workspace | None = None,
) -> tuple[SparseTensor, Int[Tensor, " voxels"]]:
    """Make a sparse tensor of the finest level.

    Args:
        feats: (voxels, channels) features.
        coords: (voxels, 4) distinct integers: batch, x, y, z. Negative coordinates are fine.
        backend: Name of the engine, see `clusterseg.sparse.backends.get_backend`.
        workspace: Scratch memory to reuse from call to call, or None for a new one.

    Returns:
        The tensor, whose rows are sorted by coordinate, and for each given row its row in the tensor:
        `tensor.feats[rows]` has the order of `coords`.

    Raises:
        ValueError: No voxel, a voxel given twice, or a coordinate out of range.

    Examples:
        >>> coords = torch.tensor([[0, 5, 0, 0], [0, 1, 0, 0]])
        >>> tensor, rows = sparse_tensor(torch.tensor([[5.0], [1.0]]), coords)
        >>> tensor.coords.tolist(), tensor.feats[rows].tolist()
        ([[0, 1, 0, 0], [0, 5, 0, 0]], [[5.0], [1.0]])
    """
    if coords.shape[0] == 0:
        raise ValueError("a sparse tensor needs at least one voxel, got none: drop empty scans before batching")
    keys = pack(coords)
    rows = torch.arange(keys.numel(), device=keys.device)
    if bool((keys[1:] > keys[:-1]).all()):  # as voxelisation leaves them
        return SparseTensor(feats, Grid(keys, get_backend(backend), workspace or Workspace())), rows
    keys, order = torch.sort(keys)
    if bool((keys[1:] == keys[:-1]).any()):
        raise ValueError("voxel coordinates must be distinct: voxelise the points first")
    rows = torch.empty_like(order).scatter_(0, order, rows)
    return SparseTensor(feats[order], Grid(keys, get_backend(backend), workspace or Workspace(), rows)), rows
