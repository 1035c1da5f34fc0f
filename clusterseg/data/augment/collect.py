"""The instance bank of a data set: built from its training scans on first use, then read from a file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from clusterseg.data.augment.instances import InstanceBank
from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.cache import Cache
from clusterseg.data.label_map import LabelMap
from clusterseg.errors import UserError

logger = logging.getLogger("clusterseg")


def ensure_bank(
    cache: Cache, scan_ids: Sequence[str], read: Callable[[int], LabelledScan], label_map: LabelMap, **settings: Any
) -> InstanceBank:
    """Return the instance bank of the scans; the file's name encodes scans and settings.

    Several processes may start at once: each builds the same bank and writes the file atomically. A damaged file is
    rebuilt.

    Args:
        cache: Cache that holds the file `instances-NAME.npz`.
        scan_ids: The training scans; scans to validate on must not be among them.
        read: Function that returns the scan of an index.
        label_map: Label map of the scans.
        **settings: As `InstanceBank.build`.

    Raises:
        UserError: A scan cannot be read, none has an instance number, the folder cannot be written, or a setting is
            wrong.
    """
    path = cache.path(f"instances-{_name(scan_ids, read, label_map, settings)}.npz")
    found = _load(path)
    if found is not None:
        return found
    logger.info("%s: collecting instances from %d scans, once", path, len(scan_ids))
    scans = _Scans(len(scan_ids), read)
    bank = InstanceBank.build(scans, label_map.class_names, **settings)
    if not scans.numbered:
        raise UserError(
            f"data.augmentation.cutmix: got no instance number in the labels of {len(scan_ids)} training scan(s), "
            "expected one in the bits above the low 16 of the raw label of each point of a thing; have the reader "
            "return them, or set data.augmentation.cutmix=null"
        )
    bank.save(path)
    return bank


class _Scans:
    """Iterates over the scans and records whether any point has an instance number."""

    def __init__(self, count: int, read: Callable[[int], LabelledScan]) -> None:
        self.count, self.read, self.numbered = count, read, False

    def __iter__(self) -> Iterator[LabelledScan]:
        for index in range(self.count):
            scan = self.read(index)
            self.numbered = self.numbered or bool((scan.instances > 0).any())
            yield scan


def _load(path: Path) -> InstanceBank | None:
    """Read the file; None if it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        return InstanceBank.load(path)
    except UserError as error:
        logger.warning("%s", error)
        return None


def _name(
    scan_ids: Sequence[str], read: Callable[[int], LabelledScan], label_map: LabelMap, settings: dict[str, Any]
) -> str:
    """Hash the inputs of the bank. The first and the last scan distinguish data sets with the same scan ids."""
    decides = [list(scan_ids), label_map.table, sorted(settings.items())]
    digest = hashlib.sha256(json.dumps(decides, default=list).encode())
    for index in (0, len(scan_ids) - 1):
        scan = read(index)
        for array in (scan.points, scan.targets, scan.instances):
            digest.update(array.tobytes())
    return digest.hexdigest()[:12]
