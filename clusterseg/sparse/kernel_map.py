"""Kernel maps: the pairs of input and output voxels under each kernel offset."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from jaxtyping import Int
from torch import Tensor

from clusterseg.sparse.coords import key_offset, local_position, lookup
from clusterseg.sparse.segments import group_rows

#: Output voxels per tile on the CPU: the gathered rows and products of a tile stay in cache, and the scratch memory
#: of a convolution does not grow with the batch. A GPU takes all voxels at once.
CPU_TILE = 8192


@dataclass(frozen=True)
class Tile:
    """The pairs of one range of output voxels, ordered by kernel offset.

    Attributes:
        rows: The range of output voxels.
        in_rows: Input voxel of each pair.
        out_rows: Output voxel of each pair.
        runs: (offset, start, stop): the pairs of each kernel offset that occurs.
        order: Pairs, counted within the tile, output voxel by output voxel.
        offsets: (rows + 1,) where each output voxel's pairs start in `order`.
        single: Whether every output voxel has exactly one pair.
    """

    rows: slice
    in_rows: Int[Tensor, " pairs"]
    out_rows: Int[Tensor, " pairs"]
    runs: tuple[tuple[int, int, int], ...]
    order: Int[Tensor, " pairs"]
    offsets: Int[Tensor, " rows_plus_one"]
    single: bool

    def mirrored(self, last: int) -> Tile:
        """The tile with offset k read as `last` - k."""
        return replace(self, runs=tuple((last - k, start, stop) for k, start, stop in self.runs))


@dataclass(frozen=True)
class KernelMap:
    """Pairs (input voxel, output voxel), ordered by kernel offset, and by output voxel within an offset.

    Attributes:
        in_rows: Input voxel of each pair.
        out_rows: Output voxel of each pair.
        counts: Pairs per kernel offset; their sum is `pairs`.
        num_in: Input voxels.
        num_out: Output voxels.
        center: The offset under which every voxel meets itself. Its pairs are implied, not listed.
        unique_in: Whether each input voxel is in exactly one listed pair.
        unique_out: Whether each output voxel is in exactly one listed pair.
    """

    in_rows: Int[Tensor, " pairs"]
    out_rows: Int[Tensor, " pairs"]
    counts: tuple[int, ...]
    num_in: int
    num_out: int
    center: int | None = None
    unique_in: bool = False
    unique_out: bool = False

    @cached_property
    def tiles(self) -> tuple[Tile, ...]:
        """The pairs by tile, in order of the output voxels."""
        size = CPU_TILE if self.in_rows.device.type == "cpu" else self.num_out
        edges = [*range(0, self.num_out, size), self.num_out]
        cuts = self._cuts(edges)
        tiles = []
        for t, rows in enumerate(map(slice, edges, edges[1:])):
            parts = [slice(cut[t], cut[t + 1]) for cut in cuts]
            stops = list(accumulate(part.stop - part.start for part in parts))
            runs = [(k, a, b) for k, (a, b) in enumerate(pairwise([0, *stops])) if b > a]
            in_rows = torch.cat([self.in_rows[part] for part in parts])
            out_rows = torch.cat([self.out_rows[part] for part in parts])
            order, offsets = group_rows(out_rows - rows.start, rows.stop - rows.start)
            tiles.append(Tile(rows, in_rows, out_rows, tuple(runs), order, offsets, self.unique_out))
        return tuple(tiles)

    def _cuts(self, edges: list[int]) -> list[list[int]]:
        """For each kernel offset, where the pairs of each tile start, and where the last ones end."""
        if len(edges) == 2:  # one tile, as on a GPU: known without waiting for it
            return [list(part) for part in pairwise([0, *accumulate(self.counts)])]
        offsets = torch.arange(len(self.counts), device=self.in_rows.device)
        kernel = torch.repeat_interleave(
            offsets, torch.tensor(self.counts, device=offsets.device), output_size=self.in_rows.numel()
        )
        stride = self.num_out + 1
        wanted = offsets[:, None] * stride + torch.tensor(edges, device=offsets.device)
        cuts: list[list[int]] = torch.searchsorted(kernel * stride + self.out_rows, wanted).tolist()
        return cuts

    @property
    def transposed(self) -> KernelMap:
        """The same pairs and offsets with the roles of input and output swapped; made once.

        A submanifold map is its own transpose read backwards: if voxel i meets o under offset d, then o meets i under
        -d. Its tiles serve both. The way back is a weak reference, so that a batch is freed as soon as it is done with.
        """
        cache = self.__dict__
        origin = cache["origin"]() if "origin" in cache else None
        if origin is not None:
            found: KernelMap = origin
            return found
        if "swapped" not in cache:
            cache["swapped"] = self._swapped()
            cache["swapped"].__dict__["origin"] = weakref.ref(self)
        swapped: KernelMap = cache["swapped"]
        return swapped

    def _swapped(self) -> KernelMap:
        swapped = replace(
            self,
            in_rows=self.out_rows,
            out_rows=self.in_rows,
            num_in=self.num_out,
            num_out=self.num_in,
            unique_in=self.unique_out,
            unique_out=self.unique_in,
        )
        if self.center is not None:
            swapped.__dict__["tiles"] = tuple(tile.mirrored(len(self.counts) - 1) for tile in self.tiles)
        return swapped


#: Half of the offsets of a 3x3x3 kernel; the others are their mirror images.
HALF = ((0, 0, 1), *((dx, dy, dz) for dx, dy in ((0, 1), (1, -1), (1, 0), (1, 1)) for dz in (-1, 0, 1)))


def submanifold_map(keys: Int[Tensor, " voxels"], stride: int) -> KernelMap:
    """Map of a 3x3x3 submanifold convolution over sorted keys.

    Offset index = (dx + 1) + 3 (dy + 1) + 9 (dz + 1), coord_in = coord_out + offset * stride. Thirteen offsets are
    looked up, the other thirteen are their mirror images. Along z, the fastest axis of the keys, the three
    neighbours of a column follow one another, so one search serves all three.
    """
    num = keys.numel()
    rows = torch.arange(num, device=keys.device)
    found: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}
    for dx, dy in ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1)):
        if (dx, dy) == (0, 0):
            position = rows + 1
            depths: tuple[int, ...] = (1,)
        else:
            position = torch.searchsorted(keys, keys + key_offset(dx * stride, dy * stride, -stride))
            depths = (-1, 0, 1)
        for dz in depths:
            row = position.clamp(max=num - 1)
            hit = keys[row] == keys + key_offset(dx * stride, dy * stride, dz * stride)
            found[dx, dy, dz] = (row, hit)
            position = position + hit
    return _mirrored_map(found, num)


def _mirrored_map(found: dict[tuple[int, int, int], tuple[Tensor, Tensor]], num: int) -> KernelMap:
    """Complete the thirteen looked-up offsets by their mirror images."""
    order = sorted(found, key=lambda d: (d[2], d[1], d[0]))
    hits = torch.stack([found[d][1] for d in order])
    counts = hits.sum(1).tolist()
    out_rows = hits.nonzero()[:, 1]
    in_rows = torch.stack([found[d][0] for d in order])[hits]
    parts = zip(in_rows.split(counts), out_rows.split(counts), strict=True)
    return mirrored_map(dict(zip(order, parts, strict=True)), num)


def mirrored_map(found: dict[tuple[int, int, int], tuple[Tensor, Tensor]], num: int) -> KernelMap:
    """Make the map of `num` voxels from the pairs (input, output) under thirteen offsets and their mirror images."""
    empty = next(iter(found.values()))[0][:0]
    pairs = [(empty, empty)] * 27
    for (dx, dy, dz), (i, o) in found.items():
        index = (dx + 1) + 3 * (dy + 1) + 9 * (dz + 1)
        pairs[index], pairs[26 - index] = (i, o), (o, i)
    return KernelMap(
        in_rows=torch.cat([i for i, _ in pairs]),
        out_rows=torch.cat([o for _, o in pairs]),
        counts=tuple(i.numel() for i, _ in pairs),
        num_in=num,
        num_out=num,
        center=13,
    )


def downsample_map(
    fine_keys: Int[Tensor, " voxels"], parents: Int[Tensor, " voxels"], num_coarse: int, stride: int
) -> KernelMap:
    """Map of a 2x2x2 convolution with stride 2 from the grid of `stride` to that of `2 * stride`.

    Offset index = 4 dx + 2 dy + dz. Every fine voxel belongs to exactly one coarse voxel, so there are as many pairs
    as fine voxels. The transposed convolution uses `.transposed`.
    """
    x, y, z = (local_position(fine_keys, 2 * stride) // stride).unbind(1)
    index = 4 * x + 2 * y + z
    order = torch.sort(index, stable=True).indices
    counts = torch.bincount(index, minlength=8).tolist()
    return KernelMap(order, parents[order], tuple(counts), fine_keys.numel(), num_coarse, unique_in=True)


def corner_rows(keys: Int[Tensor, " voxels"], stride: int) -> tuple[Tensor, Tensor]:
    """The eight corners c + stride * {0, 1}^3 (index 4 dx + 2 dy + dz) of each cell: rows and presence, (voxels, 8)."""
    steps = [key_offset(dx * stride, dy * stride, dz * stride) for dx in (0, 1) for dy in (0, 1) for dz in (0, 1)]
    return lookup(keys, keys[:, None] + torch.tensor(steps, device=keys.device))
