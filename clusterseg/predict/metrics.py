"""Counts over any number of scans in constant memory: confusion by distance, and calibration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clusterseg.data.label_map import IGNORE_INDEX
from clusterseg.metrics import Scores, scores

BAND_WIDTH = 10.0  # metres
BANDS = ("0-10 m", "10-20 m", "20-30 m", "30-40 m", "40-50 m", "50+ m")
CONFIDENCE_BINS = 15


@dataclass(frozen=True, eq=False)
class Tally:
    """Running counts over labelled points; tallies of parts add up to the tally of the whole.

    Attributes:
        confusion: Points by distance from the sensor (`BANDS`), truth and prediction.
        bin_points: Points by confidence, in equal bins of 0..1.
        bin_confidence: Sum of the confidences in each bin.
        bin_hits: Points that are right in each bin.
        scans: Scans seen, labelled or not.
    """

    confusion: Int[Tensor, "bands classes classes"]
    bin_points: Int[Tensor, " bins"]
    bin_confidence: Float[Tensor, " bins"]
    bin_hits: Int[Tensor, " bins"]
    scans: int

    @classmethod
    def zero(cls, num_classes: int) -> Tally:
        """Return an empty tally."""
        bins = torch.zeros(CONFIDENCE_BINS, dtype=torch.int64)
        confusion = torch.zeros(len(BANDS), num_classes, num_classes, dtype=torch.int64)
        return cls(confusion, bins, bins.double(), bins, 0)

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.confusion + other.confusion,
            self.bin_points + other.bin_points,
            self.bin_confidence + other.bin_confidence,
            self.bin_hits + other.bin_hits,
            self.scans + other.scans,
        )

    def scores(self) -> Scores:
        """Scores over all distances."""
        return scores(self.confusion.sum(0))

    def scores_by_distance(self) -> dict[str, Scores]:
        """Scores within each band of distance."""
        return {band: scores(counts) for band, counts in zip(BANDS, self.confusion, strict=True)}

    def reliability(self) -> tuple[Float[Tensor, " bins"], Float[Tensor, " bins"]]:
        """Mean confidence and accuracy of each bin; 0 where it is empty."""
        points = self.bin_points.clamp(min=1)
        return self.bin_confidence / points, self.bin_hits.double() / points

    def calibration_error(self) -> float:
        """Expected calibration error (Guo et al., ICML 2017, eq. 3), in 0..1."""
        confidence, accuracy = self.reliability()
        share = self.bin_points.double() / self.bin_points.sum().clamp(min=1)
        return float((share * (confidence - accuracy).abs()).sum())


def count(
    predictions: Int[Tensor, " points"],
    confidence: Float[Tensor, " points"],
    targets: Int[Tensor, " points"],
    xyz: Float[Tensor, "points 3"],
    num_classes: int,
    scans: int,
) -> Tally:
    """Tally the points of some scans, on the CPU; ignored points do not count.

    Args:
        predictions: Train id of each point.
        confidence: Probability given to the prediction, in 0..1.
        targets: Train id of each point, or `IGNORE_INDEX`.
        xyz: Coordinates in metres in the sensor's frame; a point that is not finite counts in the farthest band.
        num_classes: Number of train ids.
        scans: Number of scans.
    """
    counts = targets != IGNORE_INDEX
    predictions, targets, confidence = predictions[counts], targets[counts], confidence[counts].double()
    distance = xyz[counts].double().norm(dim=1).nan_to_num(nan=torch.inf, posinf=torch.inf)
    band = (distance / BAND_WIDTH).clamp(max=len(BANDS) - 1).long()
    cell = (band * num_classes + targets) * num_classes + predictions
    shape = (len(BANDS), num_classes, num_classes)
    confidence_bin = (confidence * CONFIDENCE_BINS).long().clamp(max=CONFIDENCE_BINS - 1)
    hits = confidence_bin[predictions == targets]
    sums = torch.zeros(CONFIDENCE_BINS, dtype=torch.float64, device=confidence.device)
    return Tally(
        torch.bincount(cell, minlength=len(BANDS) * num_classes**2).view(shape).cpu(),
        torch.bincount(confidence_bin, minlength=CONFIDENCE_BINS).cpu(),
        sums.index_add_(0, confidence_bin, confidence).cpu(),
        torch.bincount(hits, minlength=CONFIDENCE_BINS).cpu(),
        scans,
    )


def total(tallies: Iterable[Tally], num_classes: int) -> Tally:
    """Sum tallies, for example those of all ranks."""
    return sum(tallies, Tally.zero(num_classes))


def named(values: Scores, class_names: Sequence[str]) -> dict[str, Any]:
    """Return scores as plain numbers by name; None where no point is labelled."""
    labelled = int(values.points) > 0
    return {
        "miou": float(values.miou) if labelled else None,
        "miou_present": float(values.miou_present) if labelled else None,
        "accuracy": float(values.accuracy) if labelled else None,
        "iou": {n: float(iou) if labelled else None for n, iou in zip(class_names, values.iou, strict=True)},
        "points": int(values.points),
    }
