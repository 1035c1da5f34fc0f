"""The bank of a data set: collected from its training scans on first use, then read from a file."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from clusterseg.data.augment.instances import InstanceBank
from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.augment.read import read_labelled
from clusterseg.data.label_map import LabelMap
from clusterseg.data.sequences import ScanFiles

logger = logging.getLogger("clusterseg")


def ensure_bank(
    folder: str | os.PathLike[str], files: Sequence[ScanFiles], label_map: LabelMap, **settings: Any
) -> InstanceBank:
    """Return the bank of these scans; the file's name says which scans and settings it is of.

    Several ranks may start at once: each makes the same bank, and the file is written whole.

    Args:
        folder: Where the file is kept, as `instances-NAME.npz`.
        files: Training scans with labels; scans to validate on must not be among them.
        label_map: Raw ids to train ids.
        **settings: As `InstanceBank.build`.

    Raises:
        UserError: A scan cannot be read, the folder cannot be written, or a setting is wrong.
    """
    path = Path(folder) / f"instances-{_name(files, label_map, settings)}.npz"
    if path.exists():
        return InstanceBank.load(path)
    logger.info("%s: collecting instances from %d scans, once", path, len(files))
    bank = InstanceBank.build(_scans(files, label_map), label_map.class_names, **settings)
    bank.save(path)
    return bank


def _scans(files: Sequence[ScanFiles], label_map: LabelMap) -> Iterator[LabelledScan]:
    for scan in files:
        if scan.label is not None:
            yield read_labelled(scan.scan, scan.label, label_map)


def _name(files: Sequence[ScanFiles], label_map: LabelMap, settings: dict[str, Any]) -> str:
    decides = [[scan.scan_id for scan in files], label_map.name, sorted(settings.items())]
    return hashlib.sha256(json.dumps(decides, default=list).encode()).hexdigest()[:12]
