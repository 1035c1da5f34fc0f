"""Point clouds of any format as samples for a network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float64
from torch.utils.data import DataLoader, Dataset

from clusterseg.data.batch import Batch
from clusterseg.data.clouds import FEATURES, Layout, read_cloud
from clusterseg.data.clouds.origin import coordinate_step, find_offset, lies_on_zero
from clusterseg.data.clouds.scale import choose_remission_scale
from clusterseg.data.loader import ScanLoader
from clusterseg.data.sample import Sample, build_sample
from clusterseg.data.sampler import EvalSampler
from clusterseg.data.scan import naming
from clusterseg.data.transport import PipedBatch, collate_and_send
from clusterseg.data.voxelize import MAX_VOXELS_PER_AXIS
from clusterseg.errors import UserError
from clusterseg.predict.left_out import LeftOut

__all__ = ["CloudData", "CloudDataset", "choose_remission_scale"]

log = logging.getLogger("clusterseg")
_LOGGED = 3  # moved clouds that are logged, per process


class CloudDataset(Dataset["Sample | LeftOut"]):
    """Files as samples without labels; a sample's id is the path of its file.

    Args:
        files: The files to read.
        voxel_size: Edge of a voxel in metres.
        remission_scale: Remission value in the files that maps to 1.
        features: Names of the columns that the network takes, x, y, z first.
        layout: How to read columns without names.
        origin: See `clusterseg.data.clouds.origin.find_offset`.
        strict: Whether a cloud that cannot be read raises instead of being skipped.
    """

    def __init__(
        self,
        files: Sequence[Path],
        voxel_size: float,
        remission_scale: float,
        features: Sequence[str] = FEATURES,
        layout: Layout | None = None,
        origin: Any = "auto",
        strict: bool = True,
    ) -> None:
        self.files = list(files)
        self.voxel_size = voxel_size
        self.remission_scale = remission_scale
        self.features = tuple(features)
        self.layout = layout
        self.origin = origin
        self.strict = strict
        self._moved = 0

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: tuple[int, int]) -> Sample | LeftOut:
        """Read and voxelise a file.

        Args:
            key: (epoch, index), as `EvalSampler` yields them.

        Raises:
            UserError: The file cannot be read or voxelised, and `strict` is set.
        """
        path = self.files[key[1]]
        try:
            return self._sample(path)
        except UserError as error:
            if self.strict:
                raise
            return LeftOut(str(path), str(error))

    def _sample(self, path: Path) -> Sample:
        cloud = read_cloud(path, self.layout)
        with naming(path):
            offset = find_offset(cloud.xyz, self.origin)
            self._tell(path, cloud.xyz, offset)
            points = cloud.points(self.remission_scale, self.features, offset)
            del cloud  # a large one need not lie beside its voxels
            _check_extent(points, self.voxel_size)
            return build_sample(points, None, str(path), voxel_size=self.voxel_size, keep_points=True)

    def _tell(self, path: Path, xyz: Float64[np.ndarray, "points 3"], offset: Float64[np.ndarray, " 3"]) -> None:
        self._moved += 1
        if self._moved > _LOGGED:
            return
        if offset.any():
            log.info(
                "%s: not in a sensor's frame; predicted with %s subtracted, so that its ground lies at -1.73 m "
                "(origin=sensor leaves it, origin=[X,Y,Z] names the sensor's place)%s",
                path,
                offset.round(2).tolist(),
                "; others are moved alike" if self._moved == _LOGGED else "",
            )
            if coordinate_step(xyz) > self.voxel_size / 4:
                log.warning(
                    "%s: coordinates are stored in steps of %.2g m; write them as double, or nearer to 0",
                    path,
                    coordinate_step(xyz),
                )
        elif self._moved == 1 and lies_on_zero(xyz):
            log.info("%s: heights seem to be measured from the ground; if so, set origin=[0,0,1.73]", path)


class CloudData(pl.LightningDataModule):
    """Distributes the files over the ranks, each file once.

    Args:
        dataset: The files.
        num_workers: Loader processes per rank; None takes none on the CPU and 4 with a GPU.
    """

    def __init__(self, dataset: CloudDataset, num_workers: int | None = None) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer files than ranks are allowed
        self.dataset = dataset
        self.num_workers = (4 if torch.cuda.is_available() else 0) if num_workers is None else num_workers

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return a loader of one file per batch, in order."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        sampler = EvalSampler(len(self.dataset), rank=rank, world_size=world_size)
        return ScanLoader(self.dataset, batch_size=1, sampler=sampler, collate_fn=_one, num_workers=self.num_workers)


def _one(samples: Sequence[Sample | LeftOut]) -> Batch | PipedBatch | LeftOut:
    """A batch of the one sample, or the cloud that is left out in its place."""
    (sample,) = samples
    return sample if isinstance(sample, LeftOut) else collate_and_send([sample])


def _check_extent(points: np.ndarray, voxel_size: float) -> None:
    """Refuse a cloud too large for the voxel grid, with remedies."""
    finite = points[np.isfinite(points[:, :3]).all(1), :3]
    if not len(finite):
        return
    extent = finite.max(0).astype(np.float64) - finite.min(0)
    if extent.max() >= MAX_VOXELS_PER_AXIS * voxel_size:
        raise UserError(
            f"spans {' x '.join(f'{size:.4g}' for size in extent)} m; with the network's voxels of {voxel_size} m at "
            f"most {MAX_VOXELS_PER_AXIS * voxel_size:.0f} m fit: remove stray points, cut it into tiles, or convert it "
            "to metres"
        )
