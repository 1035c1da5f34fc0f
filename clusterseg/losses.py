"""Segmentation losses on voxels; each is a scalar for any input, and 0 with zero gradient where no label is valid.

`conf/loss/*.yaml` composes them as a mapping of names to terms, whose sum is trained: `{ce: ..., lovasz: ...}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import Field
from torch import Tensor, nn

from clusterseg.config.signatures import checked
from clusterseg.data.label_map import IGNORE_INDEX
from clusterseg.distributed import all_gather_rows, is_distributed, mean_over_ranks
from clusterseg.errors import UserError
from clusterseg.gradients import at_least_float32


def cross_entropy(
    logits: Float[Tensor, "voxels classes"],
    labels: Int[Tensor, " voxels"],
    ignore_index: int = IGNORE_INDEX,
    label_smoothing: float = 0.0,
    class_weights: Float[Tensor, " classes"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy in nats over the voxels whose label is not `ignore_index`.

    Args:
        logits: Scores of the classes.
        labels: Class ids, or `ignore_index`.
        ignore_index: The label of voxels that do not count.
        label_smoothing: Share of the target that all classes have in equal parts (Szegedy et al., CVPR 2016).
        class_weights: Of each class, for a mean weighted by the voxels' labels; as PyTorch's `weight`.
    """
    total = F.cross_entropy(
        at_least_float32(logits),
        labels.long(),
        weight=class_weights,
        ignore_index=ignore_index,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
    return total / _at_least_some(_mass(labels, ignore_index, class_weights))


def _mass(
    labels: Int[Tensor, " voxels"], ignore_index: int, class_weights: Float[Tensor, " classes"] | None
) -> Shaped[Tensor, ""]:
    """What the voxels that count weigh together: their number, where classes have no weights."""
    valid = labels != ignore_index
    if class_weights is None:
        return valid.sum()
    return (class_weights[labels.long() * valid] * valid).sum()


def _at_least_some(mass: Shaped[Tensor, ""]) -> Shaped[Tensor, ""]:
    """Replace a mass of 0, by which a sum of 0 is to be divided."""
    return torch.where(mass > 0, mass, torch.ones_like(mass))


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


@checked("loss.ce")
class CrossEntropy(nn.Module):
    """`weight` x `cross_entropy` of logits.

    On several ranks each voxel counts the same, whichever rank holds it: the mean of the ranks' values, and of their
    gradients, is that of the joint batch.

    Args:
        weight: Of the term.
        ignore_index: The label of voxels that do not count.
        label_smoothing: See `cross_entropy`; 0.1 is usual.
        class_weights: Weights by class name, with `default` for the classes not named; None for all the same.

    Raises:
        UserError: A number out of its range.
    """

    def __init__(
        self,
        weight: float = 1.0,
        ignore_index: int = IGNORE_INDEX,
        label_smoothing: Annotated[float, Field(ge=0, le=1)] = 0.0,
        class_weights: Mapping[str, Annotated[float, Field(ge=0)]] | None = None,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.class_weights = None if class_weights is None else dict(class_weights)
        self._by_id: Tensor | None = None

    def bind(self, class_names: Sequence[str]) -> None:
        """Order the weights by train id.

        Args:
            class_names: The name of each.

        Raises:
            UserError: A class has no weight, all weigh nothing, or a name is no class.
        """
        if self.class_weights is not None:
            self._by_id = torch.tensor(_weights_by_id(self.class_weights, class_names), dtype=torch.float32)

    def forward(self, logits: Float[Tensor, "voxels classes"], labels: Int[Tensor, " voxels"]) -> Float[Tensor, ""]:
        """The weighted term, in float32 also under autocast.

        Raises:
            UserError: There are class weights, and no names of classes.
        """
        if self.class_weights is not None and self._by_id is None:
            raise UserError("loss.ce.class_weights: got no names of classes to weight; call bind(class_names) first")
        by_id = None if self._by_id is None else self._by_id.to(logits.device, at_least_float32(logits).dtype)
        loss = self.weight * cross_entropy(logits, labels, self.ignore_index, self.label_smoothing, by_id)
        if not is_distributed():
            return loss
        mass = _mass(labels, self.ignore_index, by_id).to(loss.dtype)
        return loss * (mass / _at_least_some(mean_over_ranks(mass)))


def _weights_by_id(by_name: Mapping[str, float], class_names: Sequence[str]) -> list[float]:
    key, names = "loss.ce.class_weights", ", ".join(class_names)
    unknown = sorted(set(by_name) - {*class_names, "default"})
    if unknown:
        raise UserError(f"{key}: got {', '.join(unknown)}; expected names among the data set's classes ({names})")
    missing = [name for name in class_names if name not in by_name]
    if missing and "default" not in by_name:
        raise UserError(f"{key}: got no weight of {', '.join(missing)}; expected one of each class, or a `default`")
    weights = [float(by_name.get(name, by_name.get("default", 0))) for name in class_names]
    if not any(weights):
        raise UserError(f"{key}: got 0 for every class; expected more than 0 for one, or nothing is learnt")
    return weights


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
