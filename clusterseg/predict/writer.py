"""Write the labels of a cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64

from clusterseg.data.clouds import Layout, read_cloud
from clusterseg.data.clouds.ply import ply_bytes
from clusterseg.data.label_map import IGNORE_INDEX, LabelMap
from clusterseg.errors import UserError
from clusterseg.predict.output import OutputFolder
from clusterseg.predict.prediction import PredictedScan

INVALID = ("unlabeled", "nearest")


class CloudWriter:
    """Writes `.label` (raw ids, uint32) for each cloud, and on request a `.ply` in the colours of the classes.

    Attributes:
        unplaced: Points so far without a finite position.
        unlit: Points so far with a position but without a finite value in another column.

    Args:
        output: The output folder.
        targets: The `.label` file of each input file.
        label_map: Train ids to raw ids and colours.
        ply: Whether to write the coloured cloud.
        layout: Layout to read the inputs again for the coloured cloud.
        invalid: Label of a point without a finite position: `unlabeled`, or that of the `nearest` in the file.
    """

    def __init__(
        self,
        output: OutputFolder,
        targets: Mapping[Path, Path],
        label_map: LabelMap,
        ply: bool = False,
        layout: Layout | None = None,
        invalid: str = "unlabeled",
    ) -> None:
        self.output, self.targets, self.label_map = output, targets, label_map
        self.ply, self.layout, self.invalid = ply, layout, invalid
        self.unplaced = 0
        self.unlit = 0

    def __call__(self, scan: PredictedScan) -> None:
        """Write one cloud."""
        placed = np.isfinite(scan.points[:, :3]).all(1)
        self.unplaced += int((~placed).sum())
        self.unlit += int((placed & ~np.isfinite(scan.points).all(1)).sum())
        if self.invalid == "unlabeled":
            scan = without_unplaced(scan)
        source = Path(scan.scan_id)
        target = self.targets[source]
        if self.ply:
            colours = np.zeros((256, 3), np.uint8)  # black where unlabeled
            colours[: self.label_map.num_classes] = self.label_map.colours
            xyz = read_cloud(source, self.layout).xyz
            self.output.write(target.with_suffix(".ply"), ply_bytes(xyz, colours[scan.predictions]))
        self.output.write(target, self.label_map.to_raw(scan.predictions).astype("<u4").tobytes())


def without_unplaced(scan: PredictedScan) -> PredictedScan:
    """Return the scan with `IGNORE_INDEX` and confidence 0 for points without a finite position."""
    placed = np.isfinite(scan.points[:, :3]).all(1)
    if placed.all():
        return scan
    predictions, confidence = unlabel(placed, scan.predictions, scan.confidence)
    return replace(scan, predictions=predictions, confidence=confidence)


def unlabel(
    placed: Bool[np.ndarray, " points"],
    predictions: Int64[np.ndarray, " points"],
    confidence: Float32[np.ndarray, " points"],
) -> tuple[Int64[np.ndarray, " points"], Float32[np.ndarray, " points"]]:
    """Return `IGNORE_INDEX` and confidence 0 for the points that are not placed."""
    return np.where(placed, predictions, IGNORE_INDEX), np.where(placed, confidence, np.float32(0))


def check_invalid(setting: object) -> str:
    """Return the setting `invalid`.

    Raises:
        UserError: It is unknown.
    """
    if setting not in INVALID:
        raise UserError(f"invalid={setting}: expected one of {', '.join(INVALID)}")
    return str(setting)
