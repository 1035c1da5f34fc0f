"""Point clouds of any format as samples for a network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

from clusterseg.data.batch import collate
from clusterseg.data.sample import Sample, build_sample
from clusterseg.data.sampler import EvalSampler
from clusterseg.data.scan import naming
from clusterseg.predict.clouds import read_cloud
from clusterseg.predict.clouds.cloud import remission_scale

log = logging.getLogger("clusterseg")
_PROBES = 8


class CloudDataset(Dataset[Sample]):
    """Files as samples without labels; a sample's id is the path of its file.

    Args:
        files: What to read.
        voxel_size: Edge of a voxel in metres.
        remission_scale: The files' remission that means 1.
    """

    def __init__(self, files: Sequence[Path], voxel_size: float, remission_scale: float) -> None:
        self.files = list(files)
        self.voxel_size = voxel_size
        self.remission_scale = remission_scale

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Read and voxelise a file.

        Args:
            key: (epoch, index), as `EvalSampler` yields them.

        Raises:
            UserError: The file cannot be read or voxelised.
        """
        path = self.files[key[1]]
        cloud = read_cloud(path)
        offset = cloud.offset()
        if offset.any():
            log.info("%s: far from the sensor's frame; predicted with %s subtracted", path, offset.round(2).tolist())
        with naming(path):
            return build_sample(
                cloud.points(self.remission_scale), None, str(path), voxel_size=self.voxel_size, keep_points=True
            )


class CloudData(pl.LightningDataModule):
    """Deals the files out to the ranks, each one once.

    Args:
        dataset: The files.
        num_workers: Loader processes per rank; None takes none on the CPU and 4 with a GPU.
    """

    def __init__(self, dataset: CloudDataset, num_workers: int | None = None) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # fewer files than ranks is no mistake
        self.dataset = dataset
        self.num_workers = (4 if torch.cuda.is_available() else 0) if num_workers is None else num_workers

    def predict_dataloader(self) -> DataLoader:
        """One file a batch, in order."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        sampler = EvalSampler(len(self.dataset), rank=rank, world_size=world_size)
        return DataLoader(self.dataset, batch_size=1, sampler=sampler, collate_fn=collate, num_workers=self.num_workers)


def choose_remission_scale(files: Sequence[Path], setting: str | float) -> float:
    """The remission that means 1 in some files, and a line that tells it.

    It is chosen once for all, from the largest value in a few files spread over them, so that it does not depend on
    where an interrupted run goes on.

    Args:
        files: All input files.
        setting: A number, or ``auto``.

    Raises:
        UserError: A file cannot be read.
    """
    if setting != "auto":
        return float(setting)
    spread = np.unique(np.linspace(0, len(files) - 1, _PROBES).round().astype(int))
    found = [cloud.remission for cloud in (read_cloud(files[i]) for i in spread) if cloud.remission is not None]
    if not found:
        log.warning("the files have no remission (intensity): 0 is used, and the network was trained with it")
        return 1.0
    largest = max((float(values[np.isfinite(values)].max(initial=0)) for values in found), default=0.0)
    scale = remission_scale(largest)
    if scale != 1:
        log.info("remission goes up to %g, so its scale is 0..%g: divided by %g", largest, scale, scale)
        log.info("if that is wrong, set remission=1 (or the value that means full reflection)")
    return scale
