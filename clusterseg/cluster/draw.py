"""Draw the anchors of a step, and look up the clusters of those whose clusters are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from clusterseg.cluster.places import cells, in_scans, random_clusters, things_or_cells
from clusterseg.cluster.sampling import Anchors, gather_numbers, sample_anchors


@dataclass(frozen=True)
class Draw:
    """Where anchors come from; see the settings of `ClusterHead` of the same names."""

    anchors_from: str
    cell_size: float
    per_class: int
    total: int | None
    seed: int

    def anchors(
        self,
        labels: Int[Tensor, " voxels"],
        predictions: Int[Tensor, " voxels"],
        num_classes: int,
        step: Int[Tensor, ""],
        asked: Mapping[str, Tensor],
    ) -> Anchors:
        """Draw the anchors of a step; see `sample_anchors`."""
        places = None
        if self.anchors_from != "voxels":
            place = self._things(asked) if self.anchors_from == "things" else cells(asked["xyz"], self.cell_size)
            places = in_scans(place, asked["scans"])
        return sample_anchors(labels, predictions, num_classes, self.per_class, self.total, self.seed, step, places)

    def given(
        self, assignment: str, anchors: Anchors, clusters: Int[Tensor, " classes"], asked: Mapping[str, Tensor]
    ) -> tuple[Int[Tensor, " anchors"] | None, Bool[Tensor, " anchors"]]:
        """Return the cluster of each anchor where it is known beforehand, and a mask of the anchors that have one.

        Args:
            assignment: `modes` or `random`; others know none.
            anchors: The anchors.
            clusters: Number of clusters of each class.
            asked: Inputs of the head by name.
        """
        everyone = torch.ones_like(anchors.valid)
        there = clusters[anchors.class_id]
        if assignment == "modes":
            cluster = gather_numbers(asked["modes"], anchors)
            return cluster.clamp_min(0).minimum(there - 1), (cluster >= 0) & (cluster < there)
        if assignment == "random":
            return random_clusters(gather_numbers(self._things(asked), anchors), there, self.seed), everyone
        return None, everyone

    def _things(self, asked: Mapping[str, Tensor]) -> Tensor:
        return things_or_cells(asked["things"], cells(asked["xyz"], self.cell_size))


def asked_for(assignment: str, anchors_from: str, views: int) -> frozenset[str]:
    """Return the inputs that these settings need beside features, labels and predictions."""
    asked = {"modes"} if assignment == "modes" else set()
    if assignment == "random" or anchors_from == "things":
        asked |= {"things", "xyz"}
    if anchors_from != "voxels":
        asked |= {"scans", "xyz"}
    return frozenset(asked | ({"other"} if views == 2 else set()))
