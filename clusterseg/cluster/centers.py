"""Cluster centres: unit vectors, K per class, seeded from real embeddings and moved by momentum (METHOD step 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


def pick_seeds(
    vacant: Bool[Tensor, "classes clusters"],
    present: Bool[Tensor, "classes anchors"],
    anchors_per_seed: int = 1,
) -> tuple[Bool[Tensor, "classes clusters"], Int[Tensor, "classes clusters"]]:
    """Assign different anchors of the class to its vacant clusters, as far as anchors suffice.

    Args:
        vacant: Clusters to seed.
        present: Anchors of each class.
        anchors_per_seed: Only so many anchors make a seed; a class with fewer gets one.

    Returns:
        A mask of the clusters that get an anchor, and the anchor of each, evenly spread over the class's anchors.
    """
    turn = vacant.cumsum(1) - 1
    available = present.sum(1, keepdim=True)
    allowed = torch.where(available > 0, (available // anchors_per_seed).clamp_min(1), 0)
    granted = torch.minimum(vacant.sum(1, keepdim=True), allowed)
    existing = (~present).to(torch.uint8).argsort(dim=1, stable=True)  # existing anchors first
    spread = (turn * available // granted.clamp_min(1)).clamp(0, present.shape[1] - 1)
    return vacant & (turn < granted), existing.gather(1, spread)


def pick_farthest(
    vacant: Bool[Tensor, "classes clusters"],
    present: Bool[Tensor, "classes anchors"],
    nearest: Float[Tensor, "classes anchors"],
    least: float,
) -> tuple[Bool[Tensor, "classes clusters"], Int[Tensor, "classes clusters"]]:
    """Assign to the first vacant cluster of each class the anchor that is farthest from all its centres, if it is far.

    Args:
        vacant: Clusters to seed.
        present: Anchors of each class.
        nearest: Cosine of each anchor and its nearest centre; -1 where the class has none.
        least: An anchor with this cosine or more is near enough to a centre to need none of its own.
    """
    cosine, anchor = nearest.masked_fill(~present, 2.0).min(1, keepdim=True)
    first = vacant & (vacant.cumsum(1) == 1)
    return first & (cosine < least), anchor.expand(vacant.shape)


def twins(
    vectors: Float[Tensor, "classes clusters dim"], seeded: Bool[Tensor, "classes clusters"], least: float
) -> Bool[Tensor, "classes clusters"]:
    """Return the centres whose cosine with an earlier centre of their class is `least` or more."""
    close = torch.bmm(vectors, vectors.transpose(1, 2)) >= least
    both = seeded[:, :, None] & seeded[:, None]
    return (close & both).tril(-1).any(2)


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
        anchors_per_seed: Only so many anchors of a class in a step make a seed.
        merge_above: The number of clusters follows the data, up to K: of two centres of a class with a larger cosine
            the later falls vacant, and a class gets a new centre, one in a step, on an anchor with a smaller cosine to
            all it has. None seeds all K and merges none.
    """

    vectors: Tensor
    seeded: Tensor
    idle: Tensor
    exists: Tensor

    def __init__(
        self,
        clusters: Sequence[int],
        dim: int,
        momentum: float,
        reseed_after: int,
        anchors_per_seed: int = 1,
        merge_above: float | None = None,
    ) -> None:
        super().__init__()
        self.anchors_per_seed = anchors_per_seed
        self.merge_above = merge_above
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
        self,
        embeddings: Float[Tensor, "classes anchors dim"],
        present: Bool[Tensor, "classes anchors"],
        membership: Bool[Tensor, "classes anchors clusters"] | None = None,
    ) -> Bool[Tensor, "classes clusters"]:
        """Place vacant centres on anchors of their class; return a mask of the seeded ones.

        Args:
            embeddings: The anchors by class.
            present: Mask of the anchors.
            membership: Cluster of each anchor, where it is given beforehand: a centre is placed on its first anchor.
        """
        vacant = self.exists & ~self.seeded
        if membership is not None:
            fresh, anchor = vacant & membership.any(1), membership.to(torch.uint8).argmax(1)
        elif self.merge_above is None:
            fresh, anchor = pick_seeds(vacant, present, self.anchors_per_seed)
        else:
            cosines = torch.bmm(embeddings, self.vectors.transpose(1, 2)).masked_fill(~self.seeded[:, None], -1.0)
            fresh, anchor = pick_farthest(vacant, present, cosines.amax(2), self.merge_above)
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
        if self.merge_above is not None:
            self.seeded.logical_and_(~twins(self.vectors, self.seeded, self.merge_above))
        return drift.clamp_min(0)

    def used(self) -> Int[Tensor, " classes"]:
        """Number of subclasses of each class that got an anchor when the class was last sampled."""
        return (self.seeded & (self.idle == 0)).sum(1)
