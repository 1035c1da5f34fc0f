"""Pictures of some scans of an evaluation: bird's-eye views and a 3D viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pytorch_lightning.loggers import WandbLogger

from clusterseg.data.label_map import IGNORE_INDEX, LabelMap
from clusterseg.distributed import gather_objects
from clusterseg.files import write_file
from clusterseg.predict.prediction import PredictedScan
from clusterseg.viz.bev import bev_figure, panels
from clusterseg.viz.figures import png
from clusterseg.viz.object3d import object3d
from clusterseg.viz.scene_page import ViewedScan, write_viewer


class Gallery:
    """Stores the chosen scans of an evaluation.

    Args:
        scan_ids: All scans of the evaluation.
        count: Number of scans to store, spread evenly.
        label_map: Names and colours.
    """

    def __init__(self, scan_ids: Sequence[str], count: int, label_map: LabelMap) -> None:
        last, number = len(scan_ids) - 1, min(count, len(scan_ids))
        self.chosen = {scan_ids[round(i * last / max(number - 1, 1))] for i in range(number)}
        self.label_map = label_map
        self._scans: list[PredictedScan] = []

    def __call__(self, scan: PredictedScan) -> None:
        """Store a scan if it is chosen."""
        if scan.scan_id in self.chosen:
            self._scans.append(scan)

    def of_all(self) -> list[PredictedScan]:
        """Return the chosen scans of all ranks; every rank must call it."""
        together = [scan for scans in gather_objects(self._scans) for scan in scans]
        return sorted(together, key=lambda scan: scan.scan_id)

    def write(self, scans: Sequence[PredictedScan], folder: Path) -> dict[str, bytes]:
        """Write `bev/XX_NNNNNN.png` of each scan and one `viewer.html` of all.

        Pictures that an earlier evaluation left in `bev` are removed: they are of other predictions.

        Returns:
            The PNG files by scan.
        """
        pictures = {scan.scan_id: self._from_above(scan) for scan in scans}
        files = {folder / "bev" / f"{scan_id.replace('/', '_')}.png": picture for scan_id, picture in pictures.items()}
        for earlier in set((folder / "bev").glob("*.png")) - set(files):
            earlier.unlink()
        for path, picture in files.items():
            write_file(path, picture)
        viewed = [ViewedScan(scan.scan_id, scan.points[:, :3], _labelled(scan), scan.predictions) for scan in scans]
        write_viewer(folder / "viewer.html", viewed, self.label_map.class_names, self.label_map.colours)
        return pictures

    def log(self, logger: WandbLogger, scans: Sequence[PredictedScan], values: Mapping[str, float]) -> None:
        """Log scores and scans to a wandb run, one `wandb.Object3D` per colouring, and finish the run."""
        clouds = {
            f"{scan.scan_id}/{name}": object3d(scan.points[:, :3], colours)
            for scan in scans
            for name, colours in self._panels(scan).items()
        }
        logger.experiment.log({**values, **clouds})
        logger.experiment.finish()

    def _panels(self, scan: PredictedScan) -> dict[str, np.ndarray]:
        return panels(scan.points[:, :3], scan.targets, scan.predictions, self.label_map.colours)

    def _from_above(self, scan: PredictedScan) -> bytes:
        return png(bev_figure(scan.points[:, :3], self._panels(scan), scan.scan_id))


def _labelled(scan: PredictedScan) -> np.ndarray | None:
    return None if (scan.targets == IGNORE_INDEX).all() else scan.targets
