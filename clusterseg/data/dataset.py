"""A torch dataset of scans on disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64
from torch.utils.data import Dataset

from clusterseg.data.label_map import LabelMap
from clusterseg.data.sample import Sample, build_sample
from clusterseg.data.scan import naming, read_labels, read_scan
from clusterseg.data.sequences import ScanFiles, list_scans
from clusterseg.data.transforms import Transform

logger = logging.getLogger("clusterseg")


class ScanDataset(Dataset[Sample]):
    """Scans of a SemanticKITTI folder, as `Sample`s.

    A sample is a function of (seed, epoch, index) alone, so neither the number of workers nor the rank changes it.
    The epoch comes with the key, from the sampler: workers that live on need not be told.

    Args:
        root: A folder that holds 00, 01, ..., or one with a folder `sequences` that does.
        sequences: Names of sequence folders, e.g. `("00", "08")`.
        label_map: Raw ids to train ids.
        voxel_size: Edge of a voxel in metres.
        max_voxels: Cap on the voxels of a scan; None for no cap, as in evaluation.
        transforms: Augmentation, applied in order; none in evaluation.
        seed: Seed of augmentation and cap.
        max_scans: Only the first so many scans; None for all.
        require_labels: Whether a scan without a label is an error. If not, all its targets are `IGNORE_INDEX`.
        keep_points: Whether samples carry the points as on disk.
        key: The config key that lists these sequences, for errors.

    Raises:
        UserError: A folder, sequence or label is missing, or a file has an impossible size.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        sequences: Iterable[str],
        label_map: LabelMap,
        *,
        voxel_size: float = 0.05,
        max_voxels: int | None = None,
        transforms: Sequence[Transform] = (),
        seed: int = 0,
        max_scans: int | None = None,
        require_labels: bool = True,
        keep_points: bool = False,
        key: str = "data.sequences.train",
    ) -> None:
        self.label_map = label_map
        self.voxel_size = voxel_size
        self.max_voxels = max_voxels
        self.transforms = tuple(transforms)
        self.seed = seed
        self.keep_points = keep_points
        self.files: list[ScanFiles] = list_scans(root, sequences, key, require_labels)[:max_scans]
        self._warned: set[Path] = set()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: tuple[int, int] | int) -> Sample:
        """Return a sample.

        Args:
            key: (epoch, index), or an index alone for epoch 0.

        Raises:
            UserError: The file cannot be read, has an unknown label, no finite point, or spans too many voxels.
        """
        epoch, index = key if isinstance(key, tuple) else (0, key)
        files = self.files[index]
        points = read_scan(files.scan)
        self._warn_invalid(files.scan, points)
        targets = self._read_targets(files.label, len(points))
        with naming(files.scan):
            return build_sample(
                points,
                targets,
                files.scan_id,
                voxel_size=self.voxel_size,
                max_voxels=self.max_voxels,
                transforms=self.transforms,
                rng=np.random.default_rng([self.seed, epoch, index]),
                keep_points=self.keep_points,
            )

    def _read_targets(self, label: Path | None, num_points: int) -> Int64[np.ndarray, " points"] | None:
        if label is None:
            return None
        raw = read_labels(label, num_points)
        with naming(label):
            return self.label_map.to_train(raw)

    def _warn_invalid(self, path: Path, points: Float32[np.ndarray, "points 4"]) -> None:
        finite = np.isfinite(points)
        if finite.all() or path in self._warned:
            return
        self._warned.add(path)
        count = int((~finite.all(axis=1)).sum())
        logger.warning(
            "%s: %d of %d points are NaN or infinite; the network does not see them, and each takes the prediction "
            "of the nearest valid point in the file",
            path,
            count,
            len(points),
        )
