"""Segmentation losses on voxels; each is a scalar for any input, and 0 with zero gradient where no label is valid.

`conf/loss/*.yaml` composes them as a mapping of names to terms, whose sum is trained: `{ce: ..., lovasz: ...}`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clusterseg.data.label_map import IGNORE_INDEX
from clusterseg.distributed import all_gather_rows, is_distributed, mean_over_ranks, world_size
from clusterseg.gradients import at_least_float32


def cross_entropy(
    logits: Float[Tensor, "voxels classes"], labels: Int[Tensor, " voxels"], ignore_index: int = IGNORE_INDEX
) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats over the voxels whose label is not `ignore_index`."""
    total = F.cross_entropy(at_least_float32(logits), labels.long(), ignore_index=ignore_index, reduction="sum")
    return total / (labels != ignore_index).sum().clamp_min(1)


def lovasz_softmax(
    probabilities: Float[Tensor, "voxels classes"],
    labels: Int[Tensor, " voxels"],
    ignore_index: int = IGNORE_INDEX,
) -> Float[Tensor, ""]:
    """Lovász extension of the Jaccard loss, mean over the classes present among the valid labels.

    Source: Berman et al., "The Lovász-Softmax loss" (CVPR 2018), equations 8 and 9. All classes are sorted at
    once. Ignored voxels get the error -1, so they stand behind every valid one, where they change nothing.

    Args:
        probabilities: rows that sum to 1.
        labels: class ids, or `ignore_index`.
        ignore_index: the label of voxels that do not count.
    """
    if labels.numel() == 0:
        return probabilities.sum()
    valid = labels != ignore_index
    foreground = labels == torch.arange(probabilities.shape[1], device=labels.device)[:, None]
    errors = (foreground.to(probabilities.dtype) - probabilities.T).abs()
    errors, order = errors.masked_fill(~valid, -1.0).sort(dim=1, descending=True)
    weights = _jaccard_gradient(foreground.gather(1, order), valid[order])
    losses = (errors.clamp_min(0) * weights.to(errors.dtype)).sum(1)
    present = foreground.any(1)
    return (losses * present).sum() / present.sum().clamp_min(1)


def _jaccard_gradient(
    foreground: Bool[Tensor, "classes voxels"], valid: Bool[Tensor, "classes voxels"]
) -> Float[Tensor, "classes voxels"]:
    """Rise of the Jaccard loss at each step down the sorted errors (Berman et al., algorithm 1)."""
    positives = foreground.sum(1, keepdim=True)
    # Integer sums: exact for any number of voxels, and deterministic on every device.
    intersection = positives - foreground.cumsum(1)
    union = positives + (valid & ~foreground).cumsum(1)
    jaccard = 1.0 - intersection.double() / union.clamp_min(1)
    return jaccard.diff(dim=1, prepend=jaccard.new_zeros(jaccard.shape[0], 1))


class CrossEntropy(nn.Module):
    """`weight` x `cross_entropy` of logits.

    On several ranks each voxel counts the same, whichever rank holds it: the mean of the ranks' values, and of their
    gradients, is that of the joint batch.
    """

    def __init__(self, weight: float = 1.0, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__()
        self.weight = weight
        self.ignore_index = ignore_index

    def forward(self, logits: Float[Tensor, "voxels classes"], labels: Int[Tensor, " voxels"]) -> Float[Tensor, ""]:
        """The weighted term, in float32 also under autocast."""
        loss = self.weight * cross_entropy(logits, labels, self.ignore_index)
        if not is_distributed():
            return loss
        valid = (labels != self.ignore_index).sum().to(loss.dtype)
        return loss * (valid / mean_over_ranks(valid).clamp_min(1 / world_size()))


class LovaszSoftmax(nn.Module):
    """`weight` x `lovasz_softmax` of softmax(logits).

    Args:
        weight: Of the term.
        ignore_index: The label of voxels that do not count.
        joint: Whether several ranks sort their voxels together: the loss of the joint batch, for the price of sending
            all probabilities to all ranks. Otherwise each rank takes the loss of its own scans.
    """

    def __init__(self, weight: float = 1.0, ignore_index: int = IGNORE_INDEX, joint: bool = False) -> None:
        super().__init__()
        self.weight = weight
        self.ignore_index = ignore_index
        self.joint = joint

    def forward(self, logits: Float[Tensor, "voxels classes"], labels: Int[Tensor, " voxels"]) -> Float[Tensor, ""]:
        """The weighted term, in float32 also under autocast."""
        probabilities = at_least_float32(logits).softmax(1)
        if self.joint:
            probabilities, labels = all_gather_rows(probabilities), all_gather_rows(labels)
        return self.weight * lovasz_softmax(probabilities, labels, self.ignore_index)
