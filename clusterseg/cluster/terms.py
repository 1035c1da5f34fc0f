"""The loss terms of a step: contrasts against anchors, centres and bank, and the prototype classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clusterseg.cluster.assignment import Members
from clusterseg.cluster.bank import Bank
from clusterseg.cluster.centers import Centers
from clusterseg.cluster.contrast import bank_contrast, contrast


@dataclass(frozen=True)
class Terms:
    """Which terms there are, and their constants; see the settings of `ClusterHead` of the same names."""

    weights: Mapping[str, float]
    """By name: point_point, point_center, point_bank, classifier, distance. A term of weight 0 is not computed."""
    temperature: float
    tau_base: float
    same_class_negatives: float

    def __call__(self, members: Members, centers: Centers, bank: Bank) -> dict[str, Tensor]:
        """Compute the terms, without weights, against the state before this step's update."""
        x, valid, subclass = members.embeddings, members.valid, members.subclass
        per_class = centers.seeded.shape[1]
        targets = (centers.seeded & members.membership.any((1, 2))[:, None]).flatten()
        # A copy: the update of the step changes the buffer before backward reads it.
        vectors = centers.vectors.flatten(0, 1).clone()
        constants = self.temperature, self.tau_base, (per_class, self.same_class_negatives)
        found: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            if weight == 0:
                continue
            if name == "point_point":
                found[name] = self._point_point(x, valid, subclass, per_class)
            elif name == "point_center":  # a bank with one row a subclass; rows that do not count must be 0
                rows = torch.where(targets[:, None], vectors, 0)
                found[name] = bank_contrast(x, valid, subclass, rows[:, None], targets[:, None], *constants)
            elif name == "point_bank":
                found[name] = bank_contrast(x, valid, subclass, bank.vectors, bank.written, *constants)
            elif name == "classifier":
                found[name] = prototype_loss(x, valid, subclass // per_class, vectors, centers.seeded, self.temperature)
            else:
                found[name] = distance_loss(x, valid & centers.seeded.flatten()[subclass], vectors[subclass])
        return found

    def _point_point(self, x: Tensor, valid: Tensor, subclass: Tensor, per_class: int) -> Tensor:
        """Contrast the anchors with each other; those that are not valid have no pairs."""
        attracted = torch.where(valid, subclass, -1)[:, None] == torch.where(valid, subclass, -2)
        repelled = (subclass[:, None] != subclass) & valid
        if self.same_class_negatives != 1:
            relatives = subclass[:, None] // per_class == subclass // per_class
            repelled = repelled * torch.where(relatives, self.same_class_negatives, 1.0).to(x.dtype)
        return contrast(x, x, attracted.fill_diagonal_(False), repelled, self.temperature, self.tau_base)


def prototype_loss(
    anchors: Float[Tensor, "anchors dim"],
    valid: Bool[Tensor, " anchors"],
    class_id: Int[Tensor, " anchors"],
    prototypes: Float[Tensor, "prototypes dim"],
    seeded: Bool[Tensor, "classes clusters"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropy of a classifier whose logit of a class is the largest cosine with its centres, over tau.

    Zhou et al., "Rethinking semantic segmentation: a prototype view" (CVPR 2022), equations 6 and 7. Classes without a
    centre are no choice, and their anchors do not count.
    """
    cosines = (anchors @ prototypes.T).unflatten(1, seeded.shape).masked_fill(~seeded, -2.0)
    logits = (cosines.amax(2) / temperature).masked_fill(~seeded.any(1), -1e4)
    counts = valid & seeded.any(1)[class_id]
    losses = F.cross_entropy(logits, class_id, reduction="none")
    return torch.where(counts, losses, 0.0).sum() / counts.sum().clamp_min(1)


def distance_loss(
    anchors: Float[Tensor, "anchors dim"], valid: Bool[Tensor, " anchors"], own: Float[Tensor, "anchors dim"]
) -> Float[Tensor, ""]:
    """Mean of (1 - cosine with the own centre)^2 over the valid anchors (Zhou et al., CVPR 2022, equation 12)."""
    gap = (1 - (anchors * own).sum(1)).square()
    return torch.where(valid, gap, 0.0).sum() / valid.sum().clamp_min(1)
