"""The number of voxels of each training scan: counted once, then read from a file."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64

from clusterseg.data.augment.labelled import Mix
from clusterseg.data.cache import Cache
from clusterseg.data.reader import Scan
from clusterseg.data.voxelize import voxelize
from clusterseg.files import write_file

logger = logging.getLogger("clusterseg")


def ensure_counts(
    cache: Cache, scan_ids: Sequence[str], read: Callable[[int], Scan], voxel_size: float
) -> Int64[np.ndarray, " scans"]:
    """Return the number of voxels of each scan as it lies on disk, without augmentation or cap.

    The file's name encodes scans and voxel size. Several processes may start at once: each counts the same and writes
    the file atomically. A damaged file is written anew.

    Args:
        cache: Cache that holds the file `voxels-NAME.npy`.
        scan_ids: The scans.
        read: Function that returns the scan of an index.
        voxel_size: Edge of a voxel in metres.

    Raises:
        UserError: A scan cannot be read, or the folder cannot be written.
    """
    path = cache.path(f"voxels-{_name(scan_ids, read, voxel_size)}.npy")
    try:
        found = np.load(path, allow_pickle=False)
        if found.shape == (len(scan_ids),) and found.dtype == np.int64:
            return np.asarray(found)
    except (OSError, ValueError, EOFError):
        pass
    logger.info("%s: counting the voxels of %d scans, once", path, len(scan_ids))
    counts = np.array([len(voxelize(read(index).points, voxel_size)) for index in range(len(scan_ids))], np.int64)
    content = io.BytesIO()
    np.save(content, counts)
    write_file(path, content.getvalue())
    return counts


def expected_sizes(
    counts: Int64[np.ndarray, " scans"], mixes: Sequence[Mix], cap: int | None
) -> Int64[np.ndarray, " scans"]:
    """Estimate the voxels of each scan after mixing.

    A mix that joins two whole scans adds an average one. Any other that takes a second scan exchanges parts: the
    result is taken for at least an average scan.

    Args:
        counts: Voxels of each scan on disk.
        mixes: The mixes of the training.
        cap: Most voxels of a training scan, or None.
    """
    sizes, average = counts, int(counts.mean())
    if any(mix.joins for mix in mixes):
        sizes = counts + average
    elif any(mix.needs_other for mix in mixes):
        sizes = np.maximum(counts, average)
    return sizes if cap is None else np.minimum(sizes, cap)


def _name(scan_ids: Sequence[str], read: Callable[[int], Scan], voxel_size: float) -> str:
    """Hash what decides. The first and the last scan distinguish data sets with the same scan ids."""
    digest = hashlib.sha256(json.dumps([list(scan_ids), voxel_size]).encode())
    for index in (0, len(scan_ids) - 1):
        digest.update(read(index).points.tobytes())
    return digest.hexdigest()[:12]
