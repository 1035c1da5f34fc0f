"""Points to voxels and back as explicit matrices, filled entry by entry in Python."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor


def averaging_entries(coords: Tensor, cells: Tensor, stride: int) -> list[tuple[int, int, float]]:
    """(voxel, point, weight): the mean over the points whose cell the voxel is."""
    row_of = {tuple(c): row for row, c in enumerate(cells.tolist())}
    members: list[list[int]] = [[] for _ in row_of]
    for point, (b, x, y, z) in enumerate(coords.tolist()):
        members[row_of[b, x // stride * stride, y // stride * stride, z // stride * stride]].append(point)
    return [(voxel, point, 1 / len(group)) for voxel, group in enumerate(members) for point in group]


def interpolation_entries(coords: Tensor, cells: Tensor, stride: int) -> list[tuple[int, int, float]]:
    """(point, voxel, weight): trilinear over the corners that exist, divided by (their sum + 1e-8)."""
    row_of = {tuple(c): row for row, c in enumerate(cells.tolist())}
    entries = []
    for point, (b, *xyz) in enumerate(coords.tolist()):
        base = [v // stride * stride for v in xyz]
        fraction = [(v - low) / stride for v, low in zip(xyz, base, strict=True)]
        found = {}
        for corner in product((0, 1), repeat=3):
            weight = 1.0
            for f, far in zip(fraction, corner, strict=True):
                weight *= f if far else 1 - f
            voxel = row_of.get((b, *(low + stride * far for low, far in zip(base, corner, strict=True))))
            if voxel is not None:
                found[voxel] = weight
        total = sum(found.values()) + 1e-8
        entries += [(point, voxel, weight / total) for voxel, weight in found.items()]
    return entries


def matrix(entries: list[tuple[int, int, float]], rows: int, columns: int) -> Tensor:
    """The entries as a sparse float64 matrix."""
    row, column, value = zip(*entries, strict=True)
    where = torch.tensor([row, column])
    return torch.sparse_coo_tensor(
        where, torch.tensor(value, dtype=torch.float64), (rows, columns), check_invariants=True
    )
