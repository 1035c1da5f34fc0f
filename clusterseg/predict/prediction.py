"""Run a voter over scans under a Trainer: count the predictions and pass each scan to sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float32, Int, Int64
from torch import Tensor

from clusterseg.data.batch import Batch
from clusterseg.data.subjects import modes_of
from clusterseg.distributed import gather_objects
from clusterseg.errors import UserError
from clusterseg.metrics import count_modes
from clusterseg.predict.latency import Cost, summarise
from clusterseg.predict.left_out import LeftOut
from clusterseg.predict.metrics import Tally, count, total
from clusterseg.predict.voter import Vote, Voter


@dataclass(frozen=True, eq=False)
class PredictedScan:
    """One scan with its predictions, on the CPU.

    Attributes:
        scan_id: Sequence and frame, e.g. `08/000004`.
        points: X, y, z (metres), remission or other columns, as on disk.
        targets: Train id of each point, or `IGNORE_INDEX`.
        predictions: Train id of each point.
        confidence: Probability of the prediction, in 0..1.
    """

    scan_id: str
    points: Float32[np.ndarray, "points channels"]
    targets: Int64[np.ndarray, " points"]
    predictions: Int64[np.ndarray, " points"]
    confidence: Float32[np.ndarray, " points"]


Sink = Callable[[PredictedScan], None]


class PredictionTask(pl.LightningModule):
    """Predicts scans, for `Trainer.validate` (which also counts) and `Trainer.predict`.

    Only sums are stored, so memory does not grow with the number of scans. Each rank counts its own; `tally_of_all` and
    `cost_of_all` add them up after the loop, also where a rank had no scan.

    Args:
        voter: Predicts the points.
        num_classes: Number of train ids.
        sinks: Called with every scan, in order.
        modes: Largest number of known subclasses of a class; 0 where the data has none.
    """

    def __init__(self, voter: Voter, num_classes: int, sinks: Sequence[Sink] = (), modes: int = 0) -> None:
        super().__init__()
        self.voter = voter
        self.num_classes = num_classes
        self.sinks = tuple(sinks)
        self.tally = Tally.zero(num_classes)
        self.mode_counts = torch.zeros(num_classes, modes, 2, dtype=torch.int64)
        self.cost = Cost(torch.device("cpu"))
        self.left_out: list[LeftOut] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict and count the scans of a batch and pass them to the sinks."""
        vote = self._vote(batch)
        points = _points(batch)
        self.tally += count(
            vote.predictions, vote.confidence, batch.point_targets, points[:, :3], self.num_classes, batch.num_scans
        )
        if self.mode_counts.numel() and batch.point_subjects is not None:
            like = self.mode_counts
            self.mode_counts = like + count_modes(
                vote.predictions.cpu(), batch.point_targets.cpu(), modes_of(batch.point_subjects.cpu()), like
            )
        self._hand_on(batch, vote)

    def predict_step(self, batch: Batch | LeftOut, batch_idx: int) -> Tensor:
        """Predict the scans of a batch and pass them to the sinks; return every point's train id, empty if skipped."""
        if isinstance(batch, LeftOut):
            self.left_out.append(batch)
            return torch.empty(0, dtype=torch.int64)
        try:
            vote = self._vote(batch)
        except UserError as error:  # a view of the cloud may exceed the grid
            self.left_out += [LeftOut(scan_id, str(error)) for scan_id in batch.scan_ids]
            return torch.empty(0, dtype=torch.int64)
        self._hand_on(batch, vote)
        return vote.predictions

    def _vote(self, batch: Batch) -> Vote:
        self.cost.device = batch.feats.device
        with self.cost.timing(batch.num_scans):
            vote: Vote = self.voter(batch)
        return vote

    def _hand_on(self, batch: Batch, vote: Vote) -> None:
        if self.sinks:
            for scan in split(batch, vote):
                for sink in self.sinks:
                    sink(scan)

    def tally_of_all(self) -> Tally:
        """The counts of all ranks together; every rank must call it."""
        return total(gather_objects(self.tally), self.num_classes)

    def modes_of_all(self) -> Int[Tensor, "classes modes 2"]:
        """Points and hits of the known subclasses on all ranks; every rank must call it."""
        return torch.stack(gather_objects(self.mode_counts)).sum(0)

    def cost_of_all(self) -> dict[str, object]:
        """Latency and memory over all ranks; every rank must call it."""
        return summarise(gather_objects(self.cost.summary()))


def split(batch: Batch, vote: Vote) -> Iterator[PredictedScan]:
    """Split a batch into its scans."""
    counts = batch.point_counts.tolist()

    def parts(tensor: Tensor) -> list[np.ndarray]:
        return [part.numpy() for part in torch.split(tensor.cpu(), counts)]

    columns = [parts(t) for t in (_points(batch), batch.point_targets, vote.predictions, vote.confidence)]
    for scan_id, *values in zip(batch.scan_ids, *columns, strict=True):
        yield PredictedScan(scan_id, *values)


def _points(batch: Batch) -> Float32[Tensor, "points channels"]:
    assert batch.points is not None, "the data module was built without keep_points"
    return batch.points
