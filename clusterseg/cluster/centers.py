"""Cluster centres: unit vectors, K per class, seeded from real embeddings and moved by momentum (METHOD step 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


def pick_seeds(
    vacant: Bool[Tensor, "classes clusters"], present: Bool[Tensor, "classes anchors"]
) -> tuple[Bool[Tensor, "classes clusters"], Int[Tensor, "classes clusters"]]:
    """Assign different anchors of the class to its vacant clusters, as far as anchors suffice.

    Returns:
        A mask of the clusters that get an anchor, and the anchor of each, evenly spread over the class's anchors.
    """
    turn = vacant.cumsum(1) - 1
    available = present.sum(1, keepdim=True)
    granted = torch.minimum(vacant.sum(1, keepdim=True), available)
    existing = (~present).to(torch.uint8).argsort(dim=1, stable=True)  # existing anchors first
    spread = (turn * available // granted.clamp_min(1)).clamp(0, present.shape[1] - 1)
    return vacant & (turn < granted), existing.gather(1, spread)


def move_centers(
    vectors: Float[Tensor, "classes clusters dim"],
    embeddings: Float[Tensor, "classes anchors dim"],
    membership: Bool[Tensor, "classes anchors clusters"],
    momentum: float,
) -> Float[Tensor, "classes clusters dim"]:
    """Compute normalise(mu * centre + (1 - mu) * mean of its anchors); a centre without anchors stays."""
    # A product instead of a scatter: the same bits on every rank, on any device.
    sums = torch.bmm(membership.to(embeddings.dtype).transpose(1, 2), embeddings)
    counts = membership.sum(1)[..., None]
    blend = momentum * vectors + (1 - momentum) * sums / counts.clamp_min(1)
    moved = (counts > 0) & (blend.norm(dim=-1, keepdim=True) > 1e-6)
    return torch.where(moved, F.normalize(blend, dim=-1), vectors)


class Centers(nn.Module):
    """K centres for each class, K by class; the state of the clustering, identical on every rank.

    Args:
        clusters: Number of clusters of each class. Tables have the largest number; `exists` masks the valid entries.
        dim: Width of the embeddings.
        momentum: Mu.
        reseed_after: A centre without an anchor in this many steps in which its class was sampled becomes vacant and
            is seeded again; 0 never.
    """

    vectors: Tensor
    seeded: Tensor
    idle: Tensor
    exists: Tensor

    def __init__(self, clusters: Sequence[int], dim: int, momentum: float, reseed_after: int) -> None:
        super().__init__()
        self.momentum = momentum
        self.reseed_after = reseed_after
        shape = (len(clusters), max(clusters))
        self.register_buffer("vectors", torch.zeros(*shape, dim))
        self.register_buffer("seeded", torch.zeros(shape, dtype=torch.bool))
        self.register_buffer("idle", torch.zeros(shape, dtype=torch.int64))
        exists = torch.arange(shape[1]) < torch.tensor(list(clusters))[:, None]
        self.register_buffer("exists", exists, persistent=False)

    @torch.no_grad()
    def seed(
        self, embeddings: Float[Tensor, "classes anchors dim"], present: Bool[Tensor, "classes anchors"]
    ) -> Bool[Tensor, "classes clusters"]:
        """Place vacant centres on anchors of their class; return a mask of the seeded ones."""
        fresh, anchor = pick_seeds(self.exists & ~self.seeded, present)
        chosen = embeddings.gather(1, anchor[..., None].expand(-1, -1, embeddings.shape[-1]))
        self.vectors.copy_(torch.where(fresh[..., None], chosen, self.vectors))
        self.seeded.logical_or_(fresh)
        self.idle.masked_fill_(fresh, 0)
        return fresh

    @torch.no_grad()
    def update(
        self,
        embeddings: Float[Tensor, "classes anchors dim"],
        membership: Bool[Tensor, "classes anchors clusters"],
    ) -> Float[Tensor, ""]:
        """Move the centres towards their anchors, retire the idle ones; return the mean drift 1 - cos(old, new)."""
        used = membership.any(1)
        moved = move_centers(self.vectors, embeddings, membership, self.momentum)
        drift = ((1 - (moved * self.vectors).sum(-1)) * used).sum() / used.sum().clamp_min(1)
        self.vectors.copy_(moved)
        self.idle.add_(used.any(1, keepdim=True)).masked_fill_(used, 0)
        if self.reseed_after:
            self.seeded.logical_and_(self.idle < self.reseed_after)
        return drift.clamp_min(0)

    def used(self) -> Int[Tensor, " classes"]:
        """Number of subclasses of each class that got an anchor when the class was last sampled."""
        return (self.seeded & (self.idle == 0)).sum(1)
