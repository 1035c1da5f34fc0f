"""Segmentation scores from a confusion matrix of points, and scores of clusters and known subclasses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Scores of a confusion matrix with the truth in rows and the prediction in columns, in float64.

    Examples:
        >>> found = scores(torch.tensor([[3, 1], [0, 4]]))
        >>> found.iou, float(found.accuracy)
        (tensor([0.7500, 0.8000], dtype=torch.float64), 0.875)
    """
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

    Examples:
        >>> metric = PointConfusion(num_classes=3)
        >>> metric.update(preds=torch.tensor([0, 0, 1, 2]), target=torch.tensor([0, 1, 1, 255]))
        >>> found = metric.scores()
        >>> found.iou, round(float(found.miou), 3), round(float(found.miou_present), 3)
        (tensor([0.5000, 0.5000, 0.0000], dtype=torch.float64), 0.333, 0.5)
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


def count_modes(
    predictions: Int[Tensor, " points"],
    targets: Int[Tensor, " points"],
    modes: Int[Tensor, " points"],
    like: Int[Tensor, "classes modes 2"],
) -> Int[Tensor, "classes modes 2"]:
    """Count the points of each known subclass, and those of them that get their class.

    Args:
        predictions: Train id of each point.
        targets: Train id of each point, or one that is no class.
        modes: Subclass of each point within its class, or -1.
        like: A tensor of the result's shape.
    """
    classes, width, _ = like.shape
    known = (modes >= 0) & (modes < width) & (targets >= 0) & (targets < classes)
    cell = torch.where(known, (targets * width + modes) * 2 + (predictions == targets), classes * width * 2)
    wrong_right = torch.bincount(cell, minlength=classes * width * 2 + 1)[:-1].view(like.shape)
    return torch.stack([wrong_right.sum(2), wrong_right[..., 1]], dim=2)


def mode_recall(
    counts: Int[Tensor, "classes modes 2"], class_names: Sequence[str], mode_names: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return `{class: {mode: {recall, points}}}` of the subclasses that have points.

    Args:
        counts: Points of each subclass and those that are right, see `count_modes`.
        class_names: Names of the classes.
        mode_names: Names of the subclasses by class name.
    """
    table = {
        name: {
            mode: {"recall": right / points, "points": points}
            for mode, (points, right) in zip(mode_names.get(name, ()), rows, strict=False)
            if points
        }
        for name, rows in zip(class_names, counts.tolist(), strict=True)
    }
    return {name: modes for name, modes in table.items() if modes}


def homogeneity(table: Float[Tensor, "*sets clusters modes"]) -> Float[Tensor, "*sets"]:
    """Share of the information about the modes that the clusters hold, in 0..1; 0 for a single mode.

    1 - H(mode | cluster) / H(mode) (Rosenberg and Hirschberg, V-measure, EMNLP 2007), from point counts.
    """
    shares = table.double() / table.double().sum((-2, -1), keepdim=True).clamp_min(1e-300)
    whole = torch.special.entr(shares.sum(-2)).sum(-1)
    within = torch.special.entr(shares).sum((-2, -1)) - torch.special.entr(shares.sum(-1)).sum(-1)
    return torch.where(whole > 1e-12, 1 - within / whole.clamp_min(1e-12), 0.0)


@dataclass(frozen=True)
class Information:
    """What clusters know about subclasses, beyond what any clusters of their number and shape know.

    Attributes:
        homogeneity: See `homogeneity`.
        permuted: Its mean where the subclasses are permuted over the things of the class: points of one thing lie
            together, so that clusters of places know something about any labelling of things.
        beyond: The difference.
    """

    homogeneity: float
    permuted: float
    beyond: float


def information(
    counts: Int[Tensor, "clusters things"], modes: Int[Tensor, " things"], permutations: int = 50, seed: int = 0
) -> Information:
    """Compare clusters of a class with the subclasses of its things.

    Args:
        counts: Points in each cluster of each thing.
        modes: Subclass of each thing.
        permutations: Permutations to average over.
        seed: Seed of the permutations.
    """
    one_hot = torch.nn.functional.one_hot(modes).double()
    generator = torch.Generator().manual_seed(seed)
    orders = torch.stack([torch.randperm(len(modes), generator=generator) for _ in range(permutations)])
    found = float(homogeneity(counts.double() @ one_hot))
    permuted = float(homogeneity(counts.double() @ one_hot[orders]).mean())
    return Information(found, permuted, found - permuted)
