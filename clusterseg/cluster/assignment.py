"""The anchors of one step after assignment, and their logged statistics."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Members:
    """The embedded and assigned anchors of one step: C classes, at most n anchors and K clusters each."""

    embeddings: Float[Tensor, "anchors dim"]
    valid: Bool[Tensor, " anchors"]
    subclass: Int[Tensor, " anchors"]
    """class * K + cluster."""
    table: Float[Tensor, "classes per_class dim"]
    """The embeddings by class, detached."""
    membership: Bool[Tensor, "classes per_class clusters"]
    """Cluster of each anchor in the table."""
    marginal_error: Float[Tensor, " classes"]


def usage_entropy(
    membership: Bool[Tensor, "classes per_class clusters"], seeded: Bool[Tensor, "classes clusters"]
) -> Float[Tensor, ""]:
    """Normalised entropy of the cluster usage of each class, averaged over the classes with anchors.

    The entropy of the shares is divided by its maximum, the logarithm of min(anchors, clusters): 1 for an even spread.
    """
    counts = membership.sum(1)
    size = counts.sum(1)
    shares = counts / size.clamp_min(1)[:, None]
    largest = torch.minimum(seeded.sum(1), size).clamp_min(2).log()
    entropy = torch.special.entr(shares).sum(1) / largest
    return entropy.sum() / (size > 0).sum().clamp_min(1)


def share(part: Bool[Tensor, "*shape"], whole: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Share of the true entries of `whole` that are also true in `part`; 0 if there are none."""
    return (part & whole).sum() / whole.sum().clamp_min(1)
