"""Two independent references: dense convolution on a full grid, and Python loops over a dictionary of voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

#: Kind: (kernel_size, stride, transposed).
KINDS = {
    "submanifold": (3, 1, False),
    "down": (2, 2, False),
    "up": (2, 2, True),
    "pointwise": (1, 1, False),
}


def dense_convolve(kind: str, feats: Tensor, kernel: Tensor, coords: Tensor, out_coords: Tensor, stride: int) -> Tensor:
    """Convolve on the full grid that encloses all voxels, and read the result at ``out_coords``.

    ``stride`` is that of the finer of the two sets of coordinates.
    """
    origin = torch.cat([coords, out_coords])[:, 1:].amin(0).div(4 * stride, rounding_mode="floor") * 4 * stride
    in_stride, out_stride = stride * (2 if kind == "up" else 1), stride * (2 if kind == "down" else 1)
    batch, x, y, z = _cells(coords, origin, in_stride)
    size = 2 * (1 + int(torch.cat([coords, out_coords])[:, 1:].sub(origin).max()) // (2 * in_stride))
    dense = feats.new_zeros(int(batch.max()) + 1, size, size, size, feats.shape[1])
    dense = dense.index_put((batch, x, y, z), feats).permute(0, 4, 1, 2, 3)
    if kind == "submanifold":
        weight = kernel.reshape(3, 3, 3, *kernel.shape[1:]).permute(4, 3, 2, 1, 0)
        result = F.conv3d(dense, weight, padding=1)
    elif kind == "down":
        weight = kernel.reshape(2, 2, 2, *kernel.shape[1:]).permute(4, 3, 0, 1, 2)
        result = F.conv3d(dense, weight, stride=2)
    elif kind == "up":
        weight = kernel.reshape(2, 2, 2, *kernel.shape[1:]).permute(3, 4, 0, 1, 2)
        result = F.conv_transpose3d(dense, weight, stride=2)
    else:
        result = F.conv3d(dense, kernel.t()[:, :, None, None, None])
    batch, x, y, z = _cells(out_coords, origin, out_stride)
    return result[batch, :, x, y, z]


def _cells(coords: Tensor, origin: Tensor, stride: int) -> tuple[Tensor, ...]:
    cells = (coords[:, 1:] - origin).div(stride, rounding_mode="floor").long()
    return coords[:, 0].long(), *cells.unbind(1)


@dataclass(frozen=True)
class PairLists:
    """Pairs (input row, output row) of each kernel offset; each output row is at most once in one offset."""

    ins: list[np.ndarray]
    outs: list[np.ndarray]
    num_in: int
    num_out: int

    def forward(self, feats: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        out = np.zeros((self.num_out, kernel.shape[2]))
        for i, o, w in zip(self.ins, self.outs, kernel, strict=True):
            out[o] += feats[i] @ w
        return out

    def grad_feats(self, grad: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        result = np.zeros((self.num_in, kernel.shape[1]))
        for i, o, w in zip(self.ins, self.outs, kernel, strict=True):
            result[i] += grad[o] @ w.T
        return result

    def grad_kernel(self, feats: np.ndarray, grad: np.ndarray) -> np.ndarray:
        return np.stack([feats[i].T @ grad[o] for i, o in zip(self.ins, self.outs, strict=True)])


def pair_lists(kind: str, coords: Tensor, out_coords: Tensor, stride: int) -> PairLists:
    """Build the pairs by looking up every neighbour of every output voxel in a dictionary.

    ``stride`` is that of the finer of the two sets of coordinates.
    """
    in_row = {tuple(c): row for row, c in enumerate(coords.tolist())}
    out_row = {tuple(c): row for row, c in enumerate(out_coords.tolist())}
    if kind == "up":
        swapped = _offset_pairs(out_row, in_row, _offsets("down"), stride)
        pairs = [[(o, i) for i, o in pairs] for pairs in swapped]
    else:
        pairs = _offset_pairs(in_row, out_row, _offsets(kind), stride)
    arrays = [np.array(p, dtype=np.int64).reshape(-1, 2) for p in pairs]
    return PairLists([a[:, 0] for a in arrays], [a[:, 1] for a in arrays], len(in_row), len(out_row))


def _offsets(kind: str) -> list[tuple[int, int, int]]:
    """Kernel offsets (dx, dy, dz) in weight order: x fastest for 3x3x3, z fastest for 2x2x2."""
    if kind == "submanifold":
        return [(x, y, z) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]


def _offset_pairs(in_row: dict, out_row: dict, offsets: list, stride: int) -> list[list[tuple[int, int]]]:
    pairs = []
    for dx, dy, dz in offsets:
        found = []
        for (b, x, y, z), o in out_row.items():
            i = in_row.get((b, x + dx * stride, y + dy * stride, z + dz * stride))
            if i is not None:
                found.append((i, o))
        pairs.append(found)
    return pairs
