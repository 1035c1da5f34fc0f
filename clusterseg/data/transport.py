"""Send batches from loader processes by shared memory, or by a pipe if shared memory is too small.

Docker gives a container 64 MB of shared memory. When it is full, a process dies or loses its batch, and the run would
wait for it forever.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from clusterseg.data.batch import Batch, collate
from clusterseg.data.sample import Sample

SHARED = "/dev/shm"
log = logging.getLogger("clusterseg")


@dataclass(frozen=True, eq=False)
class PipedBatch:
    """A batch with numpy arrays instead of tensors, which a pipe can carry.

    Attributes:
        arrays: The arrays by field name.
        batch: The other fields.
    """

    arrays: dict[str, np.ndarray]
    batch: dict[str, Any]

    def unpack(self) -> Batch:
        """Return the batch."""
        tensors: dict[str, Any] = {name: torch.from_numpy(array) for name, array in self.arrays.items()}
        return Batch(**tensors, **self.batch)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; the DataLoader calls this."""
        tell_of_pipes()
        return self.unpack().pin_memory()


def collate_and_send(samples: Sequence[Sample]) -> Batch | PipedBatch:
    """Stack samples into a batch; in a loader process, choose shared memory or the pipe."""
    batch, worker = collate(samples), get_worker_info()
    if worker is None:
        return batch
    tensors = {f.name: value for f in fields(batch) if isinstance(value := getattr(batch, f.name), Tensor)}
    size = sum(tensor.nbytes for tensor in tensors.values())
    if _room() > 2 * worker.num_workers * size:  # other workers may see the same free memory
        try:
            return replace(batch, **{name: tensor.share_memory_() for name, tensor in tensors.items()})
        except RuntimeError:  # another process has taken the memory
            batch = collate(samples)
            tensors = {name: getattr(batch, name) for name in tensors}
    rest = {f.name: getattr(batch, f.name) for f in fields(batch) if f.name not in tensors}
    return PipedBatch({name: tensor.numpy() for name, tensor in tensors.items()}, rest)


def receive(item: Any) -> Any:
    """Return a received batch as tensors and any other item as it is; warn once if shared memory is short."""
    if isinstance(item, PipedBatch):
        tell_of_pipes()
        return item.unpack()
    return item


@cache
def tell_of_pipes() -> None:
    """Warn once that pipes are slow, with the remedy."""
    log.warning(
        "%s has no room for the batches of the loader processes: they come through pipes, which is slower; give it "
        "more (docker run --shm-size=8g), or set data.num_workers lower or to 0",
        SHARED,
    )


def _room() -> float:
    """Free bytes of shared memory; unlimited if unknown."""
    try:
        return shutil.disk_usage(SHARED).free
    except OSError:
        return float("inf")
