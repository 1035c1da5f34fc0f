"""Segmentation scores from a confusion matrix of points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from clusterseg.data.label_map import IGNORE_INDEX


@dataclass(frozen=True)
class Scores:
    """Scores over points, all in 0..1.

    Attributes:
        iou: (classes,) intersection over union; 0 for a class that is neither in the truth nor predicted.
        miou: Mean IoU over all classes, as the SemanticKITTI benchmark counts.
        miou_present: Mean IoU over the classes that occur in the truth.
        accuracy: Share of the labelled points that are right.
        points: Labelled points.
    """

    iou: Float[Tensor, " classes"]
    miou: Float[Tensor, ""]
    miou_present: Float[Tensor, ""]
    accuracy: Float[Tensor, ""]
    points: Int[Tensor, ""]


def scores(confusion: Int[Tensor, "classes classes"]) -> Scores:
    """Scores of a confusion matrix with the truth in rows and the prediction in columns, in float64."""
    counts = confusion.double()
    hits, truth, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    iou = hits / (truth + predicted - hits).clamp(min=1)
    present = truth > 0
    points = confusion.sum()
    return Scores(
        iou=iou,
        miou=iou.mean(),
        miou_present=torch.where(present, iou, 0.0).sum() / present.sum().clamp(min=1),
        accuracy=hits.sum() / points.clamp(min=1),
        points=points,
    )


class PointConfusion(MulticlassConfusionMatrix):
    """Confusion matrix over points (truth in rows), summed over ranks; ignored points do not count.

    Args:
        num_classes: Classes.
        ignore_index: Label of points that do not count.
    """

    def __init__(self, num_classes: int, ignore_index: int = IGNORE_INDEX) -> None:
        super().__init__(num_classes, ignore_index=ignore_index, validate_args=False)
        self._ignored = ignore_index

    def update(self, preds: Int[Tensor, " points"], target: Int[Tensor, " points"]) -> None:
        """Count points: predicted and true train ids.

        By a plain count of pairs: that of torchmetrics takes hundreds of megabytes where `deterministic` is set.
        """
        classes, ignored = self.num_classes, self.num_classes**2
        pairs = (target * classes + preds).masked_fill(target.eq(self._ignored), ignored)
        counted = torch.bincount(pairs, minlength=ignored + 1)[:ignored]
        self.confmat += counted.view(classes, classes)

    def scores(self) -> Scores:
        """Scores of everything counted so far, over all ranks."""
        return scores(self.compute())


@dataclass(frozen=True)
class Agreement:
    """How well clusters match known subclasses.

    Attributes:
        ari: Adjusted Rand index: 1 for the same partition, 0 on average for a random one (Hubert and Arabie, 1985).
        purity: Share of the points in the commonest subclass of their cluster.
        purity_of_one: The purity that a single cluster would have; more clusters cannot have less.
        points: Points counted.
    """

    ari: float
    purity: float
    purity_of_one: float
    points: int


def agreement(contingency: Int[Tensor, "clusters subclasses"]) -> Agreement:
    """Agreement of two partitions from the number of points in each pair of parts."""
    counts = contingency.double()
    total = counts.sum()

    def pairs(n: Tensor) -> Tensor:
        return (n * (n - 1) / 2).sum()

    together, rows, columns = pairs(counts), pairs(counts.sum(1)), pairs(counts.sum(0))
    expected = rows * columns / pairs(total).clamp(min=1)
    most = (rows + columns) / 2
    ari = 1.0 if most == expected else float((together - expected) / (most - expected))
    size = total.clamp(min=1)
    purity, one = counts.amax(1).sum() / size, counts.sum(0).max() / size
    return Agreement(ari, float(purity), float(one), int(total))
