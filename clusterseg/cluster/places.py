"""Places: coarse cells of space, or things, over which anchors are spread and for which random subclasses are drawn."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clusterseg.cluster.hashing import KEY_RANGE, mix

AXIS = 12  # bits of a cell's index along an axis: 4,096 cells around the sensor
CELL = 1 << 47  # tells cells from things, whose numbers are below
SCAN = 1 << 48
SCANS = 512


def cells(xyz: Float[Tensor, "voxels 3"], size: float) -> Int[Tensor, " voxels"]:
    """Return the number of the cubic cell of `size` metres that holds each voxel."""
    index = (xyz.double() / size).floor().long().add(1 << (AXIS - 1)).clamp(0, (1 << AXIS) - 1)
    x, y, z = index.unbind(1)
    return CELL | (x << 2 * AXIS) | (y << AXIS) | z


def things_or_cells(things: Int[Tensor, " voxels"], cell: Int[Tensor, " voxels"]) -> Int[Tensor, " voxels"]:
    """Return the thing of each voxel, and its cell where it belongs to none."""
    return torch.where(things > 0, things, cell)


def in_scans(place: Int[Tensor, " voxels"], scans: Int[Tensor, " voxels"]) -> Int[Tensor, " voxels"]:
    """Tell equal places in different scans of the batch apart."""
    return place + (scans.long() % SCANS) * SCAN


def random_clusters(
    place: Int[Tensor, " anchors"], clusters: Int[Tensor, " anchors"], seed: int
) -> Int[Tensor, " anchors"]:
    """Return a cluster below `clusters` that is drawn at random for each place, the same in every step."""
    low, high = place & (KEY_RANGE - 1), place >> 32
    salt = mix(torch.full_like(place, seed % KEY_RANGE))
    return mix(mix(low ^ salt) ^ high) % clusters.clamp_min(1)
