"""Divide a large cloud into blocks that are predicted one after the other, in the memory of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int, Int64
from torch import Tensor

from clusterseg.data.batch import Batch
from clusterseg.errors import UserError

#: Borders of blocks lie on multiples of the coarsest stride, so that the coarse voxels of a block are the cloud's.
COARSEST = 16
#: How far a trained network looks: with such an overlap blocks gave every label of the whole cloud.
SIGHT = 100


class Block(NamedTuple):
    """The voxels that the network is given for one block.

    Attributes:
        rows: Voxels of the block and those around it.
        core: Which of them lie in the block itself; each voxel of a cloud is in the core of one block.
    """

    rows: Int64[Tensor, " rows"]
    core: Bool[Tensor, " rows"]


@dataclass(frozen=True)
class Blocks:
    """How a cloud is divided.

    Attributes:
        voxels: A block is halved until it and what lies around it have at most so many voxels.
        overlap: Of what lies around a block, so much is given to the network with it, in voxels. A block is not made
            narrower than twice this, so that a cloud that is dense beyond measure has larger blocks than `voxels`.
    """

    voxels: int
    overlap: int

    @classmethod
    def of(cls, voxels: object, overlap: object, voxel_size: float) -> Blocks | None:
        """Read the settings `block_voxels` and `overlap`; None where clouds are predicted whole.

        Args:
            voxels: See `Blocks`; None for whole clouds.
            overlap: In metres; None for `SIGHT` voxels.
            voxel_size: Edge of a voxel in metres.

        Raises:
            UserError: A number out of its range.
        """
        if voxels is None:
            return None
        if isinstance(voxels, bool) or not isinstance(voxels, int) or voxels < 1000:
            raise UserError(f"block_voxels={voxels}: expected a whole number from 1000, such as 150000, or null")
        if overlap is None:
            return cls(voxels, SIGHT)
        if isinstance(overlap, bool) or not isinstance(overlap, int | float) or not 0 <= overlap < 1000:
            raise UserError(f"overlap={overlap}: expected metres from 0 to 1000, such as 5, or null")
        return cls(voxels, round(overlap / voxel_size))

    def divide(self, coords: Int[Tensor, "voxels 4"]) -> Iterator[Block]:
        """Yield the blocks of a batch, scan by scan.

        Args:
            coords: Scan, x, y, z. Blocks are cut along x and y, at the median.
        """
        for index in range(int(coords[:, 0].max()) + 1):
            rows = torch.nonzero(coords[:, 0] == index)[:, 0]
            if len(rows):
                ground = coords[rows, 1:3]
                waiting = [(rows, ground.amin(0).tolist(), (ground.amax(0) + 1).tolist())]
                del rows, ground  # of a large cloud they are large
                while waiting:
                    yield from self._halve(coords, waiting)

    def _halve(self, coords: Tensor, waiting: list[tuple[Tensor, list[int], list[int]]]) -> Iterator[Block]:
        """Take the last of the waiting parts of a scan; yield it, or put its halves in its place.

        A part is given by its rows, those around it among them, and by its lower and upper bounds along x and y.
        """
        rows, low, high = waiting.pop()
        ground = coords[rows, 1:3]
        core = (ground >= ground.new_tensor(low)).all(1) & (ground < ground.new_tensor(high)).all(1)
        if not core.any():
            return
        axis = 0 if high[0] - low[0] >= high[1] - low[1] else 1
        least = max(2 * self.overlap, COARSEST)
        if len(rows) <= self.voxels or high[axis] - low[axis] < 2 * least + COARSEST:
            yield Block(rows, core)
            return
        along = ground[:, axis]
        cut = _on_grid(int(along[core].median()), low[axis] + least, high[axis] - least)
        lower, upper = [*high], [*low]
        lower[axis] = upper[axis] = cut
        waiting.append((rows[along >= cut - self.overlap], upper, high))
        waiting.append((rows[along < cut + self.overlap], low, lower))


def _on_grid(value: int, least: int, most: int) -> int:
    """The multiple of the coarsest stride next to a value within bounds that are at least one stride apart."""
    value = min(max(value, least), most)
    below = value // COARSEST * COARSEST
    return below if below >= least else below + COARSEST


def part_of(batch: Batch, block: Block) -> tuple[Batch, Int64[Tensor, " points"], Bool[Tensor, " points"]]:
    """The batch of one block.

    Returns:
        The voxels of the block and their points; the rows of these points in the whole batch; and which of them lie
        in the core.
    """
    position = torch.full((len(batch.coords),), -1, dtype=torch.int64, device=batch.coords.device)
    position[block.rows] = torch.arange(len(block.rows), device=position.device)
    inverse_map = position[batch.inverse_map]
    points = torch.nonzero(inverse_map >= 0)[:, 0]
    inverse_map = inverse_map[points]
    scan = int(batch.coords[block.rows[0], 0])
    coords = batch.coords[block.rows]
    coords[:, 0] = 0
    part = replace(
        batch,
        coords=coords,
        feats=batch.feats[block.rows],
        targets=batch.targets[block.rows],
        inverse_map=inverse_map,
        point_targets=batch.point_targets[points],
        point_counts=torch.tensor([len(points)]),
        scan_ids=(batch.scan_ids[scan],),
        points=None if batch.points is None else batch.points[points],
    )
    return part, points, block.core[inverse_map]
