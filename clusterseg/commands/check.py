"""Check a data set before training: `clusterseg check data.root=DIR`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from clusterseg.build.training import build_data
from clusterseg.config.signatures import require
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.dataset import ScanDataset
from clusterseg.errors import UserError

_SHOWN = 10


def check(config: DictConfig, run_dir: Path) -> None:
    """Read every scan of `config.splits` and print points and labelled points by class.

    Raises:
        UserError: Scans cannot be used; the first are listed.
    """
    require(config, splits=list[str])
    data = build_data(config)
    splits = [split for split in config.splits if split not in ("train", "val", "test") or data.reader.has_split(split)]
    wrong: list[str] = []
    counts = {split: np.zeros(data.num_classes + 1, np.int64) for split in splits}
    with Progress(console=Console(stderr=True)) as progress:
        for split in splits:
            dataset = data.dataset(split)
            for index in progress.track(range(len(dataset)), description=split):
                wrong += _count(dataset, index, counts[split])
    Console().print(_table(data, counts))
    if wrong:
        more = [f"... and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise UserError("\n".join([f"{len(wrong)} scans cannot be used:", *wrong[:_SHOWN], *more]))


def _count(dataset: ScanDataset, index: int, counts: np.ndarray) -> Iterator[str]:
    """Add a scan's points by class; yield its mistakes."""
    try:
        targets = dataset[index].point_targets
    except UserError as error:
        yield str(error)
    else:
        counts += np.bincount(targets.clip(max=len(counts) - 1), minlength=len(counts))


def _table(data: ScanDataModule, counts: dict[str, np.ndarray]) -> Table:
    """Table of point counts by class (rows) and split (columns)."""
    table = Table("points")
    for split in counts:
        table.add_column(f"{split}, {len(data.dataset(split)):,} scans", justify="right")
    for row, name in enumerate([*data.class_names, "ignored"]):
        table.add_row(name, *(f"{values[row]:,}" for values in counts.values()))
    return table
