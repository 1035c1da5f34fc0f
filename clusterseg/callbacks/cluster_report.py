"""Report on the clusters at the end of a run: a picture, and the agreement with known subclasses if there are any."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float32, Int, Int64
from pydantic import Field
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from clusterseg.cluster import ClusterHead
from clusterseg.config.signatures import checked, nearest
from clusterseg.data.batch import Batch, collate
from clusterseg.data.dataset import ScanDataset
from clusterseg.data.subjects import modes_of, things_of
from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.metrics import agreement, information
from clusterseg.task import SegmentationTask
from clusterseg.viz.cluster_figure import Scene, cluster_figure, save_figure

log = logging.getLogger("clusterseg")


@dataclass(frozen=True, eq=False)
class _Looked:
    """The cluster head's output for a scan.

    Attributes:
        xyz: Coordinates in metres.
        targets: Train id of each point.
        subclass: Cluster of each point within its class, or -1.
        mode: Known subclass of each point within its class, or -1.
        thing: Number of each point's thing, 0 for none.
    """

    xyz: Float32[np.ndarray, "points 3"]
    targets: Int64[np.ndarray, " points"]
    subclass: Int64[np.ndarray, " points"]
    mode: Int64[np.ndarray, " points"]
    thing: Int64[np.ndarray, " points"]


@checked("callbacks.clusters")
class ClusterReport(Callback):
    """Writes `clusters.png`, and `clusters.json` if the data set has known subclasses (streets).

    A failed report is logged as a warning; the run still counts as finished.

    Args:
        folder: Where to write.
        show: Name of the class shown point by point. None takes car, or the first class where there is none.
        scans: Scans that are looked at, spread through the validation split (the training split where there is none).
        scenes: How many of them are drawn.
    """

    def __init__(
        self,
        folder: Path,
        show: str | None = None,
        scans: Annotated[int, Field(ge=1)] = 8,
        scenes: Annotated[int, Field(ge=0)] = 2,
    ) -> None:
        self.folder, self.show, self.scans, self.scenes = folder, show, scans, scenes

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Check that the class `show` exists in the data.

        Raises:
            UserError: `show` names no class.
        """
        assert isinstance(pl_module, SegmentationTask)
        names = pl_module.class_names
        if isinstance(pl_module.cluster, ClusterHead) and self.show is not None and self.show not in names:
            raise UserError(
                f"callbacks.clusters.show={self.show}: no such class{nearest(self.show, names)}; choose one of "
                f"{', '.join(names)}, or null"
            )

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the report, on rank 0."""
        assert isinstance(pl_module, SegmentationTask)
        if not isinstance(pl_module.cluster, ClusterHead) or not trainer.is_global_zero:
            return
        try:
            self._report(trainer, pl_module)
        except Exception as error:  # a failed report must not fail the run
            log.warning("no report on the clusters: %s", error)

    def _report(self, trainer: pl.Trainer, task: SegmentationTask) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning leaves it untyped
        looked = list(self._look(task, data.dataset("val" if data.has_validation else "train")))
        names = task.class_names
        shown = names.index(self.show or "car") if (self.show or "car") in names else 0
        scenes = [(scan.xyz, np.where(scan.targets == shown, scan.subclass, -1)) for scan in looked[: self.scenes]]
        self._draw(trainer, task, data.label_map.colours, scenes, task.class_names[shown])
        self._compare(looked, task.class_names)

    def _look(self, task: SegmentationTask, dataset: ScanDataset) -> Iterator[_Looked]:
        assert isinstance(task.cluster, ClusterHead)
        training = task.training
        task.eval()
        for index in np.unique(np.linspace(0, len(dataset) - 1, self.scans).round().astype(int)).tolist():
            scan = dataset.read(index)
            batch = collate([dataset[index]]).to(task.device)
            with torch.no_grad():
                subclass = task.cluster.subclasses(task(batch).taps[task.cluster.tap], batch.targets)[batch.inverse_map]
            same = batch.targets[batch.inverse_map] == batch.point_targets
            yield _Looked(
                scan.points[:, :3],
                batch.point_targets.cpu().numpy(),
                torch.where(same, subclass, -1).cpu().numpy(),
                *_subjects(batch, len(scan.points)),
            )
        task.train(training)

    def _draw(self, trainer: pl.Trainer, task: SegmentationTask, colours: Any, scenes: list[Scene], shown: str) -> None:
        assert isinstance(task.cluster, ClusterHead)
        centers = task.cluster.centers
        seeded = centers.seeded.cpu()
        classes = seeded.nonzero()[:, 0].numpy()
        vectors = centers.vectors.cpu()[seeded].numpy()
        figure = cluster_figure(vectors, classes, task.class_names, colours, scenes, shown)
        save_figure(figure, self.folder / "clusters.png")
        log.info("clusters: %s", self.folder / "clusters.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("clusters", [str(self.folder / "clusters.png")])
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure("clusters", figure, trainer.global_step)

    def _compare(self, looked: list[_Looked], class_names: tuple[str, ...]) -> None:
        """Write what the clusters know about the known subclasses of each class that shows more than one."""
        found = {name: row for c, name in enumerate(class_names) if (row := _compared(looked, c))}
        if not found:
            return
        write_file(self.folder / "clusters.json", json.dumps(found, indent=2) + "\n")
        mean = {key: float(np.mean([row[key] for row in found.values()])) for key in ("beyond", "homogeneity", "ari")}
        log.info("clusters and the known modes, mean over %d classes: %s", len(found), mean)


def _subjects(batch: Batch, points: int) -> tuple[Int64[np.ndarray, " points"], Int64[np.ndarray, " points"]]:
    """Known subclass and thing of each point; -1 and 0 where there is none."""
    if batch.point_subjects is None:
        return np.full(points, -1), np.zeros(points, np.int64)
    subjects = batch.point_subjects.cpu().numpy()
    return modes_of(subjects), things_of(subjects)


def _compared(looked: list[_Looked], class_id: int) -> dict[str, float]:
    """Scores of the clusters of a class against its known subclasses; empty if it shows fewer than two of them."""
    counts, modes = _table(looked, class_id)
    if len(modes.unique()) < 2:
        return {}
    by_mode = counts @ torch.nn.functional.one_hot(modes)
    return {**vars(information(counts, modes)), **vars(agreement(by_mode))}


def _table(looked: list[_Looked], class_id: int) -> tuple[Int[Tensor, "clusters things"], Int[Tensor, " things"]]:
    """Point counts of a class by cluster (rows) and thing (columns), and the known subclass of each thing."""
    parts = [
        np.stack([scan.subclass[rows], scan.mode[rows], scan.thing[rows]])
        for scan in looked
        for rows in [(scan.targets == class_id) & (scan.mode >= 0) & (scan.subclass >= 0)]
    ]
    clusters, modes, things = np.concatenate([*parts, np.zeros((3, 0), np.int64)], axis=1)
    names, first, column = np.unique(things, return_index=True, return_inverse=True)
    height = int(clusters.max(initial=0)) + 1
    counted = np.bincount(clusters * len(names) + column, minlength=height * len(names))
    return torch.from_numpy(counted.reshape(height, len(names))), torch.from_numpy(modes[first])
