"""Segmentation losses on voxels; each is a scalar for any input, and 0 with zero gradient where no label is valid.

`conf/loss/*.yaml` composes them as a mapping of names to terms, whose sum is trained: `{ce: ..., lovasz: ...}`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32, Int, Int64, Shaped
from pydantic import Field
from torch import Tensor, nn

from clusterseg import compiled
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

    Examples:
        >>> logits = torch.tensor([[2.0, 0.0], [0.0, 2.0], [9.0, 0.0]])
        >>> round(float(cross_entropy(logits, torch.tensor([0, 1, 255]))), 3)  # the third voxel is ignored
        0.127
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
    """Total weight of the valid voxels: their number without class weights."""
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

    Source: Berman et al., "The Lovász-Softmax loss" (CVPR 2018), equations 8 and 9. On a CPU in float32 the gradient is
    taken in the forward pass, class by class in cache; elsewhere all classes are sorted at once.

    Args:
        probabilities: Rows that sum to 1.
        labels: Class ids, or `ignore_index`.
        ignore_index: The label of voxels that do not count.

    Examples:
        >>> labels = torch.tensor([0, 1])
        >>> round(float(lovasz_softmax(torch.tensor([[0.8, 0.2], [0.4, 0.6]]), labels)), 3)
        0.35
        >>> float(lovasz_softmax(torch.eye(2), labels))
        0.0
    """
    if labels.numel() == 0:
        return probabilities.sum()
    if probabilities.device.type == "cpu" and probabilities.dtype == torch.float32:
        loss: Tensor = _CpuLovasz.apply(probabilities, labels, ignore_index)
        return loss
    valid = labels != ignore_index
    foreground = labels == torch.arange(probabilities.shape[1], device=labels.device)[:, None]
    errors = (foreground.to(probabilities.dtype) - probabilities.T).abs()
    # Ignored voxels get the error -1, so they stand behind every valid one, where they change nothing.
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


class _CpuLovasz(torch.autograd.Function):
    """The loss with its gradient, class by class, without the dozen passes over all that autograd would take."""

    @staticmethod
    def forward(ctx: Any, probabilities: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
        rows = torch.nonzero(labels != ignore_index)[:, 0]
        targets = labels.index_select(0, rows).long()
        counts = torch.bincount(targets, minlength=probabilities.shape[1])
        if len(counts) > probabilities.shape[1]:
            raise IndexError(f"label {len(counts) - 1}: there are {probabilities.shape[1]} classes")
        present = counts.nonzero()[:, 0]
        gradient = torch.zeros_like(probabilities, memory_format=torch.contiguous_format)
        one_by_one = _compiled_classes if compiled.is_built() else _all_classes
        total = one_by_one(probabilities.contiguous(), rows, targets, present, gradient) if len(present) else 0.0
        ctx.save_for_backward(gradient)
        return probabilities.new_tensor(total / max(len(present), 1))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient if grad == 1 else gradient * grad), None, None


def _compiled_classes(probabilities: Tensor, rows: Tensor, targets: Tensor, present: Tensor, gradient: Tensor) -> float:
    """As `_all_classes`, in C."""
    errors = probabilities.new_empty(probabilities.shape[1], len(rows))
    losses = torch.zeros(len(present), dtype=torch.float64)
    sizes = len(present), len(rows), probabilities.shape[1]
    compiled.call("lovasz", probabilities, gradient, errors, rows, targets, present, losses, *sizes)
    return float(losses.sum())


def _all_classes(probabilities: Tensor, rows: Tensor, targets: Tensor, present: Tensor, gradient: Tensor) -> float:
    """Sum of the losses of the classes that are present; writes the gradient of their mean.

    Args:
        probabilities: (voxels, classes).
        rows: The valid voxels.
        targets: Their labels.
        present: The classes among these.
        gradient: (voxels, classes), zeros.
    """
    errors = probabilities.index_select(0, rows)
    errors.scatter_(1, targets[:, None], 1 - errors.gather(1, targets[:, None]))
    errors = errors.T[present].contiguous()
    ranks = np.arange(1, len(rows) + 1, dtype=np.float32)

    def loss_of(place: int) -> float:
        # The bits of floats above 0 are in the order of the floats; 1-d integers are sorted by their digits.
        order = errors[place].view(torch.int32).neg().sort().indices
        return _one_class(errors[place].numpy(), (targets == present[place]).numpy(), order.numpy(), ranks)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        total = sum(pool.map(loss_of, range(len(present))))
    gradient[rows[:, None], present] = errors.T / len(present)
    return total


def _one_class(
    errors: Float32[np.ndarray, " voxels"],
    inside: Bool[np.ndarray, " voxels"],
    order: Int64[np.ndarray, " voxels"],
    ranks: Float32[np.ndarray, " voxels"],
) -> float:
    """Loss of a class that is present; replaces the errors by the gradient by the class's probabilities.

    With G voxels of the class, F of them among the i largest errors and U = G + i - F the union there, the Jaccard loss
    rises by 1 / U at a voxel of the class, and by (G - F) / (U (U - 1)) at another.

    Args:
        errors: |truth - probability|.
        inside: Whether a voxel is of the class.
        order: Voxels from the largest error to the smallest.
        ranks: 1, 2, ...
    """
    own = inside.take(order)
    found = np.cumsum(own, dtype=np.float32)  # whole numbers, exact up to 16 million voxels
    left = found[-1] - found
    union = left + ranks
    rise = left
    rise /= np.maximum(union - 1, 1)
    np.copyto(rise, 1, where=own)
    rise /= union
    loss = float(np.multiply(errors.take(order), rise).sum(dtype=np.float64))
    np.negative(rise, out=rise, where=own)
    errors[order] = rise
    return loss


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

    Examples:
        >>> term = CrossEntropy(class_weights={"car": 3.0, "default": 1.0})
        >>> term.bind(["car", "road"])
        >>> round(float(term(torch.zeros(4, 2), torch.tensor([0, 1, 1, 255]))), 3)
        0.693
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

    Examples:
        >>> term = LovaszSoftmax(weight=2.0)
        >>> round(float(term(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1]))), 2)  # one of two is wrong
        1.5
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
