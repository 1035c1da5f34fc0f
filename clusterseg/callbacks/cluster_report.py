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
from jaxtyping import Float32, Int64
from pydantic import Field
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from clusterseg.cluster import ClusterHead
from clusterseg.config.signatures import checked, nearest
from clusterseg.data.batch import collate
from clusterseg.data.dataset import ScanDataset
from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.metrics import agreement
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
    """

    xyz: Float32[np.ndarray, "points 3"]
    targets: Int64[np.ndarray, " points"]
    subclass: Int64[np.ndarray, " points"]
    mode: Int64[np.ndarray, " points"]


@checked("callbacks.clusters")
class ClusterReport(Callback):
    """Writes `clusters.png`, and `clusters.json` if the data set has known subclasses (streets).

    A failed report is logged as a warning; the run still counts as finished.

    Args:
        folder: Where to write.
        show: Name of the class shown point by point. None takes car, or the first class where there is none.
        scans: Scans of the validation split that are looked at (of the training split where there is none).
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
        data = trainer.datamodule  # type: ignore[attr-defined]
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
        for index in range(min(self.scans, len(dataset))):
            scan = dataset.read(index)
            batch = collate([dataset[index]]).to(task.device)
            with torch.no_grad():
                subclass = task.cluster.subclasses(task(batch).taps[task.cluster.tap], batch.targets)[batch.inverse_map]
            same = batch.targets[batch.inverse_map] == batch.point_targets
            yield _Looked(
                scan.points[:, :3],
                batch.point_targets.cpu().numpy(),
                torch.where(same, subclass, -1).cpu().numpy(),
                _modes(dataset, index, scan.labels),
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
        """Write the agreement of clusters and known subclasses, if there are any."""
        tables = {name: _table(looked, c) for c, name in enumerate(class_names)}
        found = {name: vars(agreement(table)) for name, table in tables.items() if table.sum() > 1}
        if not found:
            return
        write_file(self.folder / "clusters.json", json.dumps(found, indent=2) + "\n")
        mean = {key: float(np.mean([row[key] for row in found.values()])) for key in ("ari", "purity", "purity_of_one")}
        log.info("subclasses against the known modes, mean over %d classes: %s", len(found), mean)


def _modes(dataset: ScanDataset, index: int, labels: np.ndarray | None) -> Int64[np.ndarray, " points"]:
    """Known subclass of each point, or -1."""
    modes = dataset.reader.modes(dataset.scan_ids[index])
    if labels is None:
        return np.zeros(0, np.int64)
    lookup = np.full(2**16, -1)
    if modes:
        lookup[list(modes)] = list(modes.values())
    found: np.ndarray = lookup[(labels >> 16) & 0xFFFF]
    return found


def _table(looked: list[_Looked], class_id: int) -> Tensor:
    """Point counts of a class by cluster (rows) and known subclass (columns)."""
    pairs = [
        np.stack([scan.subclass[rows], scan.mode[rows]])
        for scan in looked
        for rows in [(scan.targets == class_id) & (scan.mode >= 0) & (scan.subclass >= 0)]
    ]
    clusters, modes = np.concatenate([*pairs, np.zeros((2, 0), np.int64)], axis=1)
    if not len(clusters):
        return torch.zeros(1, 1, dtype=torch.int64)
    width = int(modes.max()) + 1
    counted = torch.bincount(torch.from_numpy(clusters * width + modes))
    return torch.nn.functional.pad(counted, (0, -len(counted) % width)).view(-1, width)
