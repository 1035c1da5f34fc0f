"""Anchor sampling: up to n voxels per class from the batch of all ranks, half of them currently misclassified.

Every voxel of the joint batch gets a key from (seed, step, its number in the joint batch), and each class takes its
smallest keys. The sample is random, reproducible, and independent of the distribution of scans over ranks. It needs no
host synchronisation: the results have a fixed size and a mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clusterseg.distributed import all_gather, rank
from clusterseg.gradients import at_least_float32, take_rows

KEY_RANGE = 2**32  # keys are integers below; a sort code is group * KEY_RANGE + key
LAST = torch.iinfo(torch.int64).max  # sorts behind every code


@dataclass(frozen=True)
class Anchors:
    """Sampled voxels, identical on every rank: ordered by class, random within a class."""

    source: Int[Tensor, " anchors"]
    """Rank that holds the voxel."""
    index: Int[Tensor, " anchors"]
    """Row of the voxel on that rank; 0 where invalid."""
    class_id: Int[Tensor, " anchors"]
    """Class of the voxel; 0 where invalid."""
    hard: Bool[Tensor, " anchors"]
    """Misclassified by the current prediction."""
    valid: Bool[Tensor, " anchors"]
    """Whether the slot holds an anchor; valid slots come first."""
    cell: Int[Tensor, " anchors"]
    """Place of the anchor in the flattened table below; 0 where invalid."""
    slots: Int[Tensor, "classes per_class"]
    """The same anchors as a table: slot of the i-th anchor of each class, some slot where there is none."""
    present: Bool[Tensor, "classes per_class"]
    """Whether the table's cell holds an anchor."""


@torch.no_grad()
def sample_anchors(
    labels: Int[Tensor, " voxels"],
    predictions: Int[Tensor, " voxels"],
    num_classes: int,
    per_class: int,
    total: int | None,
    seed: int,
    step: Int[Tensor, ""],
) -> Anchors:
    """Sample anchors per class, half hard and half easy; a shortage of one kind is filled by the other (METHOD step 2).

    Args:
        labels: Class ids of this rank's voxels; ids outside 0..num_classes-1 (such as 255) are not sampled.
        predictions: Current class ids of the same voxels.
        num_classes: Number of classes C.
        per_class: Maximum number of anchors of one class.
        total: Maximum number of all anchors, shared evenly by the classes present; None for C * per_class.
        seed: Seed of the run.
        step: Step of the run; the same step samples the same voxels.
    """
    group = voxel_groups(labels, predictions, num_classes)
    local = torch.zeros(2 * num_classes + 1, dtype=torch.int64, device=labels.device)
    everywhere = all_gather(local.scatter_add_(0, group, torch.ones_like(group)))
    counts = everywhere.sum(0)[:-1]
    quotas = group_quotas(counts.view(num_classes, 2), per_class, total).flatten()
    keys = voxel_keys(len(group), everywhere[: rank()].sum(), seed, step)
    capacity = _capacity(num_classes, per_class)
    codes, index = _candidates(group, keys, _thresholds(counts, quotas), capacity)
    return _select(all_gather(codes), all_gather(index), quotas, per_class, total)


def gather_anchors(features: Float[Tensor, "voxels channels"], anchors: Anchors) -> Float[Tensor, "anchors channels"]:
    """Gather the anchors' features from all ranks in float32 or wider; gradient to own anchors, 0 where invalid."""
    if features.shape[0] == 0:
        features = features.new_zeros(1, features.shape[1]) + features.sum()  # preserves the graph
    mine = anchors.valid & (anchors.source == rank())
    rows = at_least_float32(take_rows(features, torch.where(mine, anchors.index, 0)))
    parts = all_gather(torch.where(mine[:, None], rows, 0.0))
    return parts[anchors.source, torch.arange(len(mine), device=mine.device)]


def voxel_groups(
    labels: Int[Tensor, " voxels"], predictions: Int[Tensor, " voxels"], num_classes: int
) -> Int[Tensor, " voxels"]:
    """Return the group of each voxel: 2 * class + (0 hard, 1 easy); 2C for voxels that are not sampled."""
    labels = labels.long()
    valid = (labels >= 0) & (labels < num_classes)
    return torch.where(valid, 2 * labels + (predictions == labels), 2 * num_classes)


def group_quotas(counts: Int[Tensor, "classes 2"], per_class: int, total: int | None) -> Int[Tensor, "classes 2"]:
    """Return the numbers of hard and easy anchors per class, from the numbers of hard and easy voxels."""
    hard, easy = counts.unbind(1)
    most = torch.full_like(hard, per_class)
    if total is not None:
        most = (total // (hard + easy > 0).sum().clamp_min(1)).clamp(1, per_class).expand_as(hard)
    take_hard = torch.minimum(hard, torch.maximum(most // 2, most - easy))
    return torch.stack([take_hard, torch.minimum(easy, most - take_hard)], dim=1)


def voxel_keys(count: int, first: Int[Tensor, ""], seed: int, step: Int[Tensor, ""]) -> Int[Tensor, " voxels"]:
    """Return random keys in [0, 2^32) of the voxels first, first + 1, ...: unique within a step."""
    salt = _mix(_mix(torch.full_like(step, seed % KEY_RANGE)) ^ (step % KEY_RANGE))
    return _mix((first + torch.arange(count, device=step.device)) ^ salt)


def _mix(x: Tensor) -> Tensor:
    """Bijective hash of 32-bit integers stored in int64 (xor-shift-multiply; both factors odd, below 2^31)."""
    x = x ^ (x >> 16)
    x.mul_(0x7FEB352D).bitwise_and_(KEY_RANGE - 1)
    x ^= x >> 15
    x.mul_(0x6C8E9CF5).bitwise_and_(KEY_RANGE - 1)
    x ^= x >> 16
    return x


def _margin(quota: Tensor) -> Tensor:
    """Expected number of candidates for a `quota`: at least six standard deviations above it."""
    return quota + 8.0 * quota.sqrt() + 16.0


def _thresholds(counts: Tensor, quotas: Tensor) -> Tensor:
    """Key threshold of each group, below which voxels are sorted, from the joint counts; 0 for the unsampled group.

    This avoids a sort of all voxels. The threshold is that of the joint batch. If too few keys are below it (less than
    once in 1e10), there are fewer anchors, but the same ones on every rank.
    """
    share = _margin(quotas.double()) / counts.clamp_min(1)
    threshold = torch.where(share >= 1, float(KEY_RANGE), (share * KEY_RANGE).floor()).long()
    return torch.cat([threshold, threshold.new_zeros(1)])


def _capacity(num_classes: int, per_class: int) -> int:
    """Buffer size for the candidates of one rank, ten standard deviations above the expected maximum."""
    half = torch.tensor(per_class / 2, dtype=torch.float64)
    expected = 2 * num_classes * float(_margin(half))
    return math.ceil(expected + 10 * math.sqrt(expected))


def _candidates(group: Tensor, keys: Tensor, threshold: Tensor, capacity: int) -> tuple[Tensor, Tensor]:
    """Return sort codes and rows of the voxels below their group's threshold, padded with LAST to `capacity`."""
    keep = keys < threshold[group]
    place = keep.cumsum(0).sub_(1).masked_fill_(~keep, capacity).clamp_max_(capacity)
    index = torch.full((capacity + 1,), -1, device=group.device)
    index = index.scatter_(0, place, torch.arange(len(group), device=group.device))[:-1]
    codes = group.new_full((capacity,), LAST)
    if len(group):
        codes = torch.where(index >= 0, group[index] * KEY_RANGE + keys[index], LAST)
    return codes, index.clamp_min(0)


def _select(
    codes: Int[Tensor, "world capacity"],
    index: Int[Tensor, "world capacity"],
    quotas: Int[Tensor, " groups"],
    per_class: int,
    total: int | None,
) -> Anchors:
    """Select from every rank's candidates the smallest keys of each group up to its quota, ordered by class."""
    num_classes = len(quotas) // 2
    size = num_classes * per_class if total is None else min(total, num_classes * per_class)
    codes, order = codes.flatten().sort()
    group = (codes // KEY_RANGE).clamp_max(2 * num_classes)
    chosen = _rank_within(group) < torch.cat([quotas, quotas.new_zeros(1)])[group]
    by_class = torch.where(chosen, group // 2 * KEY_RANGE + codes % KEY_RANGE, LAST)
    by_class, again = by_class.sort()
    by_class, again = by_class[:size], again[:size]
    valid = by_class != LAST
    class_id = (by_class // KEY_RANGE).masked_fill(~valid, 0)
    place = order[again]
    first = torch.searchsorted(by_class, torch.arange(num_classes + 1, device=codes.device) * KEY_RANGE)
    column = torch.arange(per_class, device=codes.device)
    return Anchors(
        source=(place // index.shape[1]).masked_fill(~valid, 0),
        index=index.flatten()[place].masked_fill(~valid, 0),
        class_id=class_id,
        hard=(group[again] % 2 == 0) & valid,
        valid=valid,
        cell=(class_id * per_class + torch.arange(size, device=codes.device) - first[class_id]) * valid,
        slots=(first[:-1, None] + column).clamp_max(size - 1),
        present=column < first.diff()[:, None],
    )


def _rank_within(group: Int[Tensor, " sorted"]) -> Int[Tensor, " sorted"]:
    """Position of each entry among its equals, in a sorted list."""
    return torch.arange(len(group), device=group.device) - torch.searchsorted(group, group)
