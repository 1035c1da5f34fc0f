"""The report on the clusters at the end of a run: a picture, and agreement with known subclasses if there are any."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from clusterseg.data.batch import collate
from clusterseg.data.scan import read_labels, read_scan
from clusterseg.files import write_file
from clusterseg.metrics import agreement
from clusterseg.synthetic.modes import MODES_FILE, read_modes
from clusterseg.task import SegmentationTask
from clusterseg.viz.clusters import Scene, cluster_figure, save_figure

log = logging.getLogger("clusterseg")


class ClusterReport(Callback):
    """Writes ``clusters.png``, and ``clusters.json`` where the scans have known subclasses (streets).

    Args:
        folder: Where to write.
        show: Name of the class shown point by point.
        scans: Scans of the validation split that are looked at (of the training split where there is none).
        scenes: How many of them are drawn.
    """

    def __init__(self, folder: Path, show: str = "car", scans: int = 8, scenes: int = 2) -> None:
        self.folder, self.show, self.scans, self.scenes = folder, show, scans, scenes

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the report, on rank 0."""
        assert isinstance(pl_module, SegmentationTask)
        if pl_module.cluster is None or not trainer.is_global_zero:
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        dataset = data.dataset("val" if data.sequences["val"] else "train")
        scenes: list[Scene] = []
        tables: dict[int, Tensor] = {}
        for files, targets, subclass in self._look(pl_module, dataset):
            if len(scenes) < self.scenes:
                shown = np.where(targets == self._class(pl_module), subclass, -1)
                scenes.append((read_scan(files.scan)[:, :3], shown))
            if (files.scan.parents[1] / MODES_FILE).is_file():
                self._count(tables, files, targets, subclass, pl_module)
        self._draw(trainer, pl_module, data, scenes)
        self._tell(tables, pl_module.class_names)

    def _class(self, task: SegmentationTask) -> int:
        return task.class_names.index(self.show) if self.show in task.class_names else 0

    def _look(self, task: SegmentationTask, dataset: Any) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        """The files, the targets and the subclasses of the points of each scan."""
        assert task.cluster is not None
        training = task.training
        task.eval()
        for index in range(min(self.scans, len(dataset))):
            batch = collate([dataset[index]]).to(task.device)
            with torch.no_grad():
                subclass = task.cluster.subclasses(task(batch).taps[task.cluster.tap], batch.targets)[batch.inverse_map]
            same = batch.targets[batch.inverse_map] == batch.point_targets
            subclass = torch.where(same, subclass, -1)
            yield dataset.files[index], batch.point_targets.cpu().numpy(), subclass.cpu().numpy()
        task.train(training)

    def _count(
        self, tables: dict[int, Tensor], files: Any, targets: np.ndarray, subclass: np.ndarray, task: SegmentationTask
    ) -> None:
        """Add a scan's points to the tables of subclass against known mode, one table a class."""
        assert task.cluster is not None
        modes = {instance: mode for instance, (_, mode) in read_modes(files.scan.parents[1]).items()}
        lookup = np.full(2**16, -1)
        lookup[list(modes)] = list(modes.values())
        mode = lookup[read_labels(files.label, len(targets)) >> 16]
        clusters = task.cluster.centers.seeded.shape[1]
        for c in range(len(task.class_names)):
            rows = (targets == c) & (mode >= 0) & (subclass >= 0)
            pairs = torch.from_numpy(subclass[rows] * 16 + mode[rows])
            counted = torch.bincount(pairs, minlength=clusters * 16).view(clusters, 16)
            tables[c] = tables[c] + counted if c in tables else counted

    def _draw(self, trainer: pl.Trainer, task: SegmentationTask, data: Any, scenes: list[Scene]) -> None:
        assert task.cluster is not None
        centers = task.cluster.centers
        seeded = centers.seeded.cpu()
        classes = seeded.nonzero()[:, 0].numpy()
        vectors = centers.vectors.cpu()[seeded].numpy()
        shown = task.class_names[self._class(task)]
        figure = cluster_figure(vectors, classes, task.class_names, data.label_map.colours, scenes, shown)
        save_figure(figure, self.folder / "clusters.png")
        log.info("clusters: %s", self.folder / "clusters.png")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("clusters", [str(self.folder / "clusters.png")])
            elif isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure("clusters", figure, trainer.global_step)

    def _tell(self, tables: dict[int, Tensor], class_names: tuple[str, ...]) -> None:
        found = {class_names[c]: vars(agreement(table)) for c, table in tables.items() if table.sum() > 1}
        if not found:
            return
        write_file(self.folder / "clusters.json", json.dumps(found, indent=2) + "\n")
        mean = {key: float(np.mean([row[key] for row in found.values()])) for key in ("ari", "purity", "purity_of_one")}
        log.info("subclasses against the known modes, mean over %d classes: %s", len(found), mean)
