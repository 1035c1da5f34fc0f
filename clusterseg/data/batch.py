"""A batch of scans as plain tensors: voxels for the network, points for the metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

from clusterseg.data.sample import Sample, View

_ON_CPU = frozenset({"point_counts", "context", "context_counts"})


@dataclass(frozen=True, eq=False)
class Batch:
    """Scans stacked along their voxels and along their points, scan after scan.

    Attributes:
        coords: Scan within the batch, then voxel indices x, y, z.
        feats: Features of each voxel's first point: x, y, z (metres, augmented), then the reader's others.
        targets: Train id of each voxel's first point, or `IGNORE_INDEX`.
        inverse_map: Row in `coords` of each point's voxel.
        point_targets: Train id of each point, or `IGNORE_INDEX`.
        point_counts: Points per scan; always on the CPU, for splitting without a synchronisation.
        scan_ids: Sequence and frame of each scan, e.g. `08/000004`.
        points: Features of each point as on disk, or None if the dataset does not store them.
        context: Features of the points of other scans, which have voxels but are none of the points; None without any.
            Always on the CPU.
        context_counts: Such points per scan, on the CPU.
        subjects: Subject of each voxel's first point, see `clusterseg.data.subjects`, or None if not requested.
        point_subjects: Subject of each point, or None.
        view_coords: As `coords`, of a second augmentation of the same scans, or None if not requested.
        view_feats: As `feats`, of the second view.
        view_rows: Row in `view_coords` of each voxel's first point, or -1.
    """

    coords: Int32[Tensor, "voxels 4"]
    feats: Float32[Tensor, "voxels channels"]
    targets: Int64[Tensor, " voxels"]
    inverse_map: Int64[Tensor, " points"]
    point_targets: Int64[Tensor, " points"]
    point_counts: Int64[Tensor, " scans"]
    scan_ids: tuple[str, ...]
    points: Float32[Tensor, "points channels"] | None = None
    context: Float32[Tensor, "others channels"] | None = None
    context_counts: Int64[Tensor, " scans"] | None = None
    subjects: Int64[Tensor, " voxels"] | None = None
    point_subjects: Int64[Tensor, " points"] | None = None
    view_coords: Int32[Tensor, "view_voxels 4"] | None = None
    view_feats: Float32[Tensor, "view_voxels channels"] | None = None
    view_rows: Int64[Tensor, " voxels"] | None = None

    @property
    def num_scans(self) -> int:
        """Number of scans in the batch."""
        return len(self.scan_ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch on a device; the counts and the context stay on the CPU.

        Args:
            device: The target device.
            non_blocking: Copy without waiting; safe from pinned memory to a GPU.
        """
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking), skip=_ON_CPU)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory; the DataLoader calls this."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor], skip: frozenset[str] | set[str] = frozenset()) -> Batch:
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in skip}
        tensors: dict[str, Any] = {k: function(v) for k, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **tensors)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples into a batch; each inverse map is shifted to the rows of its scan."""
    coords, first_rows = _stack_coords([sample.coords for sample in samples])
    point_counts = np.array([len(sample.inverse_map) for sample in samples], np.int64)
    context = [sample.context for sample in samples if sample.context is not None]
    context_counts = [0 if sample.context is None else len(sample.context) for sample in samples]
    return Batch(
        coords=coords,
        feats=_stack([sample.feats for sample in samples]),
        targets=_stack([sample.targets for sample in samples]),
        inverse_map=_stack([sample.inverse_map + row for sample, row in zip(samples, first_rows, strict=True)]),
        point_targets=_stack([sample.point_targets for sample in samples]),
        point_counts=torch.from_numpy(point_counts),
        scan_ids=tuple(sample.scan_id for sample in samples),
        points=_stack_all([sample.points for sample in samples]),
        context=_stack(context) if context else None,
        context_counts=torch.tensor(context_counts) if context else None,
        subjects=_stack_all([sample.subjects for sample in samples]),
        point_subjects=_stack_all([sample.point_subjects for sample in samples]),
        **_stack_views([sample.view for sample in samples if sample.view is not None]),
    )


def _stack_views(views: Sequence[View]) -> dict[str, Tensor]:
    """Stack second views; the rows are shifted to those of their scan."""
    if not views:
        return {}
    coords, first_rows = _stack_coords([view.coords for view in views])
    rows = [np.where(view.rows < 0, -1, view.rows + row) for view, row in zip(views, first_rows, strict=True)]
    return {"view_coords": coords, "view_feats": _stack([view.feats for view in views]), "view_rows": _stack(rows)}


def _stack_coords(parts: Sequence[np.ndarray]) -> tuple[Tensor, np.ndarray]:
    """Stack voxel indices with the scan in front; return (voxels, 4) int32 and the first row of each scan."""
    counts = np.array([len(part) for part in parts], np.int64)
    coords = np.empty((counts.sum(), 4), np.int32)
    coords[:, 0] = np.repeat(np.arange(len(parts)), counts)
    np.concatenate(parts, out=coords[:, 1:])
    return torch.from_numpy(coords), np.cumsum(counts) - counts


def _stack_all(arrays: Sequence[np.ndarray | None]) -> Tensor | None:
    """Stack arrays; None if one is missing."""
    given = [array for array in arrays if array is not None]
    return _stack(given) if len(given) == len(arrays) else None


def _stack(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays))
