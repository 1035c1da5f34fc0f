"""A LightningDataModule of scans: reader, label map, voxelisation and loaders."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Int64
from pydantic import Field
from torch.utils.data import DataLoader

from clusterseg.config.signatures import checked
from clusterseg.data.augment import InstanceBank, Mix, ensure_bank
from clusterseg.data.batch import Batch
from clusterseg.data.budget import BudgetSampler
from clusterseg.data.cache import Cache
from clusterseg.data.dataset import ScanDataset
from clusterseg.data.inputs import Inputs
from clusterseg.data.label_map import load_label_map
from clusterseg.data.loader import eval_loader, train_loader
from clusterseg.data.proportions import Proportions
from clusterseg.data.reader import Reader
from clusterseg.data.sampler import EvalSampler, TrainSampler
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.data.transforms import Transform
from clusterseg.data.voxel_counts import ensure_counts, expected_sizes
from clusterseg.data.voxelize import VOXEL_SIZE
from clusterseg.errors import UserError

SPLITS = ("val", "train", "test", "all")
Positive = Annotated[int, Field(ge=1)]


@checked("data")
class ScanDataModule(pl.LightningDataModule):
    """Loads the scans of a reader, with or without a Trainer.

    Build the Trainer with `use_distributed_sampler=False`: the samplers here are distributed, and the evaluation
    sampler yields every scan once.

    Args:
        reader: The data set.
        label_map: See `load_label_map`.
        voxel_size: Edge of a voxel in metres.
        max_scans: Cap on the scans of each split, which takes the first ones; None for no cap.
        train_scans: Only so many training scans, spread evenly over those of the split, for studies of few labels; None
            for all.
        max_voxels: Cap on the voxels of a training scan; None for no cap. Evaluation has none.
        augmentation: Augmentation of training scans by name; an entry of None is off. Every `Mix` is applied first,
            then the transforms, each in order.
        batch_size: Scans per training batch and rank; not used with `batch_voxels`.
        batch_voxels: Voxels of a training batch and rank, which takes as many scans as fit, see
            :mod:`clusterseg.data.budget`; None for `batch_size` scans whatever their size.
        val_batch_size: Scans per evaluation batch and rank.
        num_workers: Loader processes per rank; None takes one per core, at most 4, and none without a GPU.
        seed: Seed of order, augmentation and cap.
        pin_memory: Whether to use page-locked memory if there is a GPU.
        persistent_workers: Whether workers persist from epoch to epoch.
        keep_points: Whether batches contain the points as on disk; for mixed training scans, the mixed points.
        cache: Folder for files derived from the data; None for a folder `.clusterseg` under the reader's `root`, or
            the user's cache folder if that is not writable.

    Attributes:
        subjects: Whether training samples contain subjects, see `ScanDataset`; set before they are first used, by what
            asks for them. Other splits contain them where the data set has known subclasses.
        two_views: Whether training samples contain a second view.

    Raises:
        UserError: The label map, the reader's features or a number is invalid.

    Examples:
        >>> from clusterseg import Reader, Scan
        >>> class Grid(Reader):
        ...     def scans(self, split):
        ...         return ["a", "b"]
        ...
        ...     def read(self, scan_id):
        ...         return Scan(np.random.default_rng(0).random((50, 4), np.float32), np.full(50, 40))
        >>> data = ScanDataModule(Grid(), "semantickitti", voxel_size=0.5, num_workers=0)
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch.scan_ids, batch.feats.shape[1], data.class_names[8]
        (('a', 'b'), 4, 'road')
    """

    subjects = False
    two_views = False

    def __init__(
        self,
        reader: Reader,
        label_map: str | dict[str, Any],
        voxel_size: Annotated[float, Field(gt=0)] = VOXEL_SIZE,
        max_scans: Positive | None = None,
        train_scans: Positive | None = None,
        max_voxels: Positive | None = 80_000,
        augmentation: Mapping[str, Transform | Mix | None] | None = None,
        batch_size: Positive = 2,
        val_batch_size: Positive = 1,
        num_workers: Annotated[int, Field(ge=0)] | None = None,
        seed: Annotated[int, Field(ge=0)] = 0,
        pin_memory: bool = True,
        persistent_workers: bool = True,
        keep_points: bool = False,
        cache: str | os.PathLike[str] | None = None,
        batch_voxels: Positive | None = None,
    ) -> None:
        super().__init__()
        if tuple(reader.features[:3]) != ("x", "y", "z"):
            raise UserError(f"data.reader: features {reader.features}; the first three must be x, y, z in metres")
        self.reader = reader
        self.label_map = load_label_map(label_map)
        self.voxel_size = voxel_size
        self.max_scans = max_scans
        self.train_scans = train_scans
        self.max_voxels = max_voxels
        steps = [step for step in (augmentation or {}).values() if step is not None]
        self.mixes = tuple(step for step in steps if isinstance(step, Mix))
        self.transforms = tuple(step for step in steps if not isinstance(step, Mix))
        self.batch_size = batch_size
        self.val_batch_size = val_batch_size
        self.num_workers = _default_workers() if num_workers is None else num_workers
        self.seed = seed
        self.pin_memory = pin_memory
        self.persistent_workers = persistent_workers
        self.keep_points = keep_points
        self.cache = cache
        self.batch_voxels = batch_voxels
        self._budget_steps: dict[int, int] = {}
        self._datasets: dict[str, ScanDataset] = {}

    @property
    def inputs(self) -> Inputs:
        """Expected input of a network trained on this data."""
        return Inputs(tuple(self.reader.features), self.voxel_size, self.label_map)

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per train id."""
        return self.label_map.class_names

    @property
    def num_classes(self) -> int:
        """Number of classes; `IGNORE_INDEX` is none of them."""
        return self.label_map.num_classes

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation split."""
        return self.reader.has_split("val")

    def setup(self, stage: str) -> None:
        """List the scans of a stage, so that mistakes appear before the first step."""
        splits = {"fit": ["fit", "val"], "validate": ["val"], "test": ["test"], "predict": ["test"]}[stage]
        if stage == "fit" and not self.has_validation:
            splits.remove("val")
            if self.trainer:
                self.trainer.limit_val_batches = 0  # Lightning warns of an empty loader
        for split in splits:
            self.dataset(split)

    def dataset(self, split: str) -> ScanDataset:
        """Return the dataset of a split, built once.

        Args:
            split: `fit` (the training scans, augmented and capped), or `val`, `train`, `test`, `all` (neither).

        Raises:
            UserError: The split is unknown, or its files are invalid.
        """
        if split not in self._datasets:
            self._datasets[split] = self._list(split)
        return self._datasets[split]

    def order(self) -> Proportions | None:
        """Return what a training epoch draws; None for every scan once."""
        return None

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of training batches: shuffled, augmented, capped; resumable within an epoch."""
        dataset = self.dataset("fit")
        rank, world_size = self._rank()
        # Workers start fetching when Lightning requests an iterator, before it sets the sampler's epoch.
        progress = self.trainer.fit_loop.epoch_progress.current if self.trainer else None
        epoch = 0 if progress is None else progress.processed  # type: ignore[attr-defined]  # of a subclass
        place = {"seed": self.seed, "rank": rank, "world_size": world_size, "epoch": epoch}
        sampler: TrainSampler | BudgetSampler
        if self.batch_voxels is None:
            sampler = TrainSampler(len(dataset), batch_size=self.batch_size, proportions=self.order(), **place)
        else:
            sampler = BudgetSampler(self._sizes(), self.batch_voxels, **place)
        return train_loader(dataset, sampler, batch_size=self.batch_size, **self._options())

    def batches_per_epoch(self, world_size: int) -> int:
        """Training batches per epoch and rank."""
        if self.batch_voxels is not None:
            if world_size not in self._budget_steps:
                sampler = BudgetSampler(self._sizes(), self.batch_voxels, seed=self.seed, world_size=world_size)
                self._budget_steps[world_size] = sampler.steps
            return self._budget_steps[world_size]
        order = self.order()
        samples = math.ceil(len(self.dataset("fit") if order is None else order) / world_size)
        return math.ceil(samples / self.batch_size)

    def scans_per_batch(self, world_size: int) -> float:
        """Training scans per batch and rank; with a budget of voxels their mean."""
        if self.batch_voxels is None:
            return self.batch_size
        return len(self.dataset("fit")) / (self.batches_per_epoch(world_size) * world_size)

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Return the loader of validation batches; an empty list if the protocol has no validation.

        Raises:
            UserError: A rank would have no scan and would not take part in the sum of scores.
        """
        if not self.has_validation:
            return []
        scans, (_, ranks) = len(self.dataset("val")), self._rank()
        if scans < ranks:
            raise UserError(
                f"data.sequences.val: {scans} scan(s) for {ranks} ranks, each of which needs one; "
                "list more sequences, validate nothing (data.sequences.val=[]), or set trainer.devices lower"
            )
        return self.eval_dataloader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the loader of the test sequences; without labels, targets are `IGNORE_INDEX`."""
        return self.eval_dataloader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the same batches as `test_dataloader`."""
        return self.eval_dataloader("test")

    def eval_dataloader(self, split: str) -> DataLoader[Any]:
        """Return a loader of every scan of a split once, in order, without augmentation or cap.

        Args:
            split: `val`, `train`, `test` or `all`; see `dataset`.
        """
        dataset = self.dataset(split)
        rank, world_size = self._rank()
        sampler = EvalSampler(len(dataset), rank=rank, world_size=world_size)
        return eval_loader(dataset, sampler, batch_size=self.val_batch_size, **self._options())

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Copy a batch to the device without waiting for the copy."""
        return batch.to(device, non_blocking=device.type == "cuda")

    def _list(self, split: str) -> ScanDataset:
        if split not in ("fit", *SPLITS):
            raise UserError(f"split={split}: no such split; choose one of {', '.join(SPLITS)}")
        training: dict[str, Any] = {
            "spread": self.train_scans,
            "max_voxels": self._cap(),
            "transforms": self.transforms,
            "train_on_context": True,
            "subjects": self.subjects,
            "two_views": self.two_views,
        }
        others = {"subjects": bool(self.reader.mode_names())}
        dataset = ScanDataset(
            self.reader,
            "train" if split == "fit" else split,
            self.label_map,
            voxel_size=self.voxel_size,
            seed=self.seed,
            max_scans=self.max_scans,
            keep_points=self.keep_points,
            **(training if split == "fit" else others),
        )
        if split == "fit":
            dataset.mixes = tuple(mix.bound(self.class_names, partial(self._bank, dataset)) for mix in self.mixes)
        return dataset

    def _cap(self) -> int | None:
        """Most voxels of a training scan: a batch of one scan is within the budget, too."""
        return min((cap for cap in (self.max_voxels, self.batch_voxels) if cap is not None), default=None)

    def _sizes(self) -> Int64[np.ndarray, " scans"]:
        """Estimate the voxels of each training scan with its mixes; see `clusterseg.data.budget`."""
        if self.order() is not None:
            raise UserError(
                f"data.batch_voxels={self.batch_voxels}: fills batches from every scan once, not from "
                "proportions; set data.batch_size instead, or no share and no epoch_scans"
            )
        dataset = self.dataset("fit")
        counts = ensure_counts(self._cache_folder(), dataset.scan_ids, dataset.read, self.voxel_size)
        return expected_sizes(counts, self.mixes, self._cap())

    def _cache_folder(self) -> Cache:
        root = getattr(self.reader, "root", None)
        return Cache(self.cache, root if isinstance(root, str | os.PathLike) else None)

    def _bank(self, dataset: ScanDataset, classes: Sequence[str]) -> InstanceBank:
        """Return the instances of these classes in the training scans."""
        return ensure_bank(self._cache_folder(), dataset.scan_ids, dataset.labelled, self.label_map, classes=classes)

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _options(self) -> dict[str, Any]:
        return {
            "num_workers": self.num_workers,
            "pin_memory": self.pin_memory,
            "persistent_workers": self.persistent_workers,
        }


def _default_workers() -> int:
    if not torch.cuda.is_available():
        return 0  # a scan loads in about 10 ms, a step on the CPU takes seconds: workers would only occupy cores
    return min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


class SemanticKittiDataModule(ScanDataModule):
    """SemanticKITTI; see `SemanticKittiReader` for root, protocol, sequences, window, `ScanDataModule` for the others.

    Raises:
        UserError: A setting is invalid.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        protocol: str = "train",
        sequences: Mapping[str, Iterable[int | str] | int | None] | None = None,
        label_map: str | dict[str, Any] = "semantickitti",
        window: Positive = 1,
        **settings: Any,
    ) -> None:
        super().__init__(SemanticKittiReader(root, protocol, sequences, window), label_map, **settings)
