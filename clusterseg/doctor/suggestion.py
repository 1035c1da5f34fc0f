"""Suggest the voxel size and the cap on voxels from the figures of a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from clusterseg.doctor.survey import LADDER, Survey

# A scan of SemanticKITTI at the 5 cm of SPVNAS: 124,668 points in 91,852 voxels (00/000000).
_TELLING = 1.05  # points per voxel below which all points have a voxel of their own
_POINTS_PER_VOXEL = 124_668 / 91_852


@dataclass(frozen=True)
class Suggestion:
    """Suggested settings.

    Attributes:
        voxel_size: Edge in metres, of `LADDER`, at which a scan has about as many points per voxel as one of
            SemanticKITTI has in the published settings; None where points are so sparse that no edge tells.
        max_voxels: The cap that 95 of 100 training scans pass unharmed, at the present voxel size, rounded up to
            thousands; None without a training scan.
        points_per_voxel: Median over the scans, by voxel size; those that were measured.
        capped: Share of the training scans that the present cap cuts.
        lost: Share of the voxels of training scans that it drops.
    """

    voxel_size: float | None
    max_voxels: int | None
    points_per_voxel: dict[float, float]
    capped: float
    lost: float


def suggest(survey: Survey) -> Suggestion:
    """Return the suggestion for a data set."""
    density = {edge: _density(survey, edge) for edge in LADDER}
    known = {edge: value for edge, value in density.items() if value}
    telling = [edge for edge, value in known.items() if value > _TELLING]
    best = min(telling, key=lambda edge: abs(math.log(known[edge] / _POINTS_PER_VOXEL)), default=None)
    voxels = np.array([facts.voxels for facts in survey.splits.get("train", []) if facts.voxels], np.int64)
    if not len(voxels):
        return Suggestion(best, None, known, 0.0, 0.0)
    cap = math.ceil(np.percentile(voxels, 95) / 1000) * 1000
    over = np.zeros_like(voxels) if survey.max_voxels is None else np.maximum(voxels - survey.max_voxels, 0)
    return Suggestion(best, int(cap), known, float((over > 0).mean()), float(over.sum() / voxels.sum()))


def _density(survey: Survey, edge: float) -> float:
    """Median points per voxel of the scans measured at an edge; 0 if there is none."""
    ratios = [facts.ladder[edge] for facts in survey.read if edge in facts.ladder]
    return float(np.median(ratios)) if ratios else 0.0
