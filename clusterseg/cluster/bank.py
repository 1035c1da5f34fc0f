"""Memory bank: for every subclass, a ring of its latest anchors (METHOD step 4, "point-bank")."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class Bank(nn.Module):
    """A ring buffer of `size` unit vectors for each subclass; unwritten rows do not count.

    Args:
        subclasses: Number of rings.
        size: Vectors per ring.
        push: Maximum number of vectors written to a ring per step.
        dim: Width of the embeddings.
    """

    rows: Tensor
    count: Tensor

    def __init__(self, subclasses: int, size: int, push: int, dim: int) -> None:
        super().__init__()
        self.subclasses = subclasses
        self.size = size
        self.push = push
        # One extra row receives discarded vectors, so that a step writes a fixed number of rows.
        self.register_buffer("rows", torch.zeros(subclasses * size + 1, dim))
        self.register_buffer("count", torch.zeros(subclasses, dtype=torch.int64))

    @property
    def vectors(self) -> Float[Tensor, "subclasses size dim"]:
        """The rings; unwritten rows are 0."""
        return self.rows[:-1].view(self.subclasses, self.size, -1)

    @property
    def written(self) -> Bool[Tensor, "subclasses size"]:
        """Mask of the written rows."""
        return torch.arange(self.size, device=self.count.device) < self.count[:, None]

    def latest(self, rows: int) -> tuple[Float[Tensor, "subclasses rows dim"], Bool[Tensor, "subclasses rows"]]:
        """Return the vectors written last to each ring, and a mask of those that exist; `rows` at most `size`."""
        back = torch.arange(1, rows + 1, device=self.count.device)
        place = (self.count[:, None] - back) % self.size
        vectors = self.vectors.gather(1, place[..., None].expand(-1, -1, self.rows.shape[1]))
        return vectors, back <= self.count[:, None]

    @torch.no_grad()
    def update(
        self,
        embeddings: Float[Tensor, "anchors dim"],
        subclass: Int[Tensor, " anchors"],
        valid: Bool[Tensor, " anchors"],
    ) -> None:
        """Write the first `push` valid anchors of every subclass over the oldest rows of its ring."""
        subclass, order = torch.where(valid, subclass, self.subclasses).sort(stable=True)
        first = torch.searchsorted(subclass, torch.arange(self.subclasses + 1, device=subclass.device))
        turn = torch.arange(len(subclass), device=subclass.device) - first[subclass]
        stored = (subclass < self.subclasses) & (turn < self.push)
        ring = subclass.clamp_max(self.subclasses - 1)
        row = ring * self.size + (self.count[ring] + turn) % self.size
        self.rows.index_copy_(0, torch.where(stored, row, len(self.rows) - 1), embeddings[order])
        self.rows[-1].zero_()
        self.count.add_(first.diff().clamp_max(self.push))

    @torch.no_grad()
    def clear(self, subclass: Bool[Tensor, " subclasses"]) -> None:
        """Empty the rings of reseeded subclasses."""
        self.vectors.masked_fill_(subclass[:, None, None], 0)
        self.count.masked_fill_(subclass, 0)
