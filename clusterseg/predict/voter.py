"""Predict one class per point from several networks and views by their mean probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from clusterseg.data.batch import Batch, collate
from clusterseg.data.sample import build_sample
from clusterseg.predict.blocks import Blocks, part_of
from clusterseg.predict.views import View


@dataclass(frozen=True, eq=False)
class Vote:
    """The prediction for every point of a batch.

    Attributes:
        predictions: Train id of each point.
        confidence: Mean probability of that class over the votes, in 0..1.
    """

    predictions: Int64[Tensor, " points"]
    confidence: Float[Tensor, " points"]


class Voter(nn.Module):
    """Networks applied to several views of each scan.

    A single network in a single view predicts by its logits, so the result equals that of the network alone. Several
    networks or views predict by the mean of their probabilities (softmax).

    Args:
        networks: Map feats (voxels, channels), coords (voxels, 4) to an output with `logits` (voxels, classes).
        views: The views of each scan.
        voxel_size: Edge of a voxel in metres, for the views that are not the identity.
        blocks: How large clouds are divided; None: they are predicted whole.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        views: Sequence[View] = (View(),),
        voxel_size: float = 0.05,
        blocks: Blocks | None = None,
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.views = tuple(views)
        self.voxel_size = voxel_size
        self.blocks = blocks

    def forward(self, batch: Batch) -> Vote:
        """Predict every point; needs `batch.points` for a view other than the identity."""
        if self.blocks is None or len(batch.coords) <= self.blocks.voxels:
            return self._whole(batch)
        predictions = torch.empty_like(batch.inverse_map)
        confidence = torch.empty(len(predictions), device=predictions.device)
        for block in self.blocks.divide(batch.coords):
            part, points, core = part_of(batch, block)
            vote = self._whole(part)
            predictions[points[core]] = vote.predictions[core]
            confidence[points[core]] = vote.confidence[core]
        return Vote(predictions, confidence)

    def _whole(self, batch: Batch) -> Vote:
        votes = len(self.networks) * len(self.views)
        total: Tensor | None = None
        for logits, inverse_map in self._outputs(batch):
            probabilities = logits.softmax(1)
            if votes == 1:
                predictions = logits.argmax(1)
                confidence = probabilities.gather(1, predictions[:, None])[:, 0]
                return Vote(predictions[inverse_map], confidence[inverse_map])
            points = probabilities[inverse_map]
            total = points if total is None else total.add_(points)
        assert total is not None
        best, predictions = total.max(1)
        return Vote(predictions, best / votes)

    def _outputs(self, batch: Batch) -> Iterator[tuple[Float[Tensor, "voxels classes"], Int64[Tensor, " points"]]]:
        for view in self.views:
            seen = batch if view.is_identity else see(batch, view, self.voxel_size)
            for network in self.networks:
                yield network(seen.feats, seen.coords).logits.float(), seen.inverse_map


def see(batch: Batch, view: View, voxel_size: float) -> Batch:
    """Voxelise a batch again in a view; the order of the points does not change.

    Raises:
        UserError: See `clusterseg.data.voxelize.voxelize`.
    """
    assert batch.points is not None, "the data module was built without keep_points"
    scans = torch.split(batch.points.cpu(), batch.point_counts.tolist())
    others = [scan[:0] for scan in scans]
    if batch.context is not None and batch.context_counts is not None:
        others = list(torch.split(batch.context, batch.context_counts.tolist()))
    samples = [
        build_sample(
            torch.cat([points, context]).numpy(),
            None,
            scan_id,
            voxel_size=voxel_size,
            transforms=[view],
            num_points=len(points),
        )
        for points, context, scan_id in zip(scans, others, batch.scan_ids, strict=True)
    ]
    return collate(samples).to(batch.feats.device)
