"""Anchor sampling: up to n voxels per class from the batch of all ranks, half of them currently misclassified.

Every voxel of the joint batch gets a key from (seed, step, its number in the joint batch), and each class takes its
smallest keys. With places, the first voxel of each place comes before all others, so that the anchors are spread over
the scans. The sample is random, reproducible, and independent of the distribution of scans over ranks. It needs no host
synchronisation: the results have a fixed size and a mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clusterseg.cluster.hashing import KEY_RANGE, mix
from clusterseg.distributed import all_gather, rank
from clusterseg.gradients import at_least_float32, take_rows

LAST = torch.iinfo(torch.int64).max  # sorts behind every code, which is group * KEY_RANGE + key


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
    places: Int[Tensor, " voxels"] | None = None,
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
        places: Number of each voxel's place, below 2^57 and different in different scans: of each class and kind one
            voxel per place is taken before others. None draws all voxels alike.
    """
    group = voxel_groups(labels, predictions, num_classes)
    everywhere = _counts(group, 2 * num_classes)
    counts = everywhere.sum(0)[:-1]
    quotas = group_quotas(counts.view(num_classes, 2), per_class, total).flatten()
    keys = voxel_keys(len(group), everywhere[: rank()].sum(), seed, step)
    if places is not None:
        later = ~first_of_place((2 * num_classes + 1) * places + group, keys) & (group < 2 * num_classes)
        group = 2 * group + later
        counts = _counts(group, 4 * num_classes).sum(0)[:-1]
        first = torch.minimum(counts[::2], quotas)
        quotas = torch.stack([first, quotas - first], dim=1).flatten()
    capacity = _capacity(len(quotas), num_classes * per_class)
    codes, index = _candidates(group, keys, _thresholds(counts, quotas), capacity)
    return _select(all_gather(codes), all_gather(index), quotas, num_classes, per_class, total)


def gather_anchors(features: Float[Tensor, "voxels channels"], anchors: Anchors) -> Float[Tensor, "anchors channels"]:
    """Gather the anchors' features from all ranks in float32 or wider; gradient to own anchors, 0 where invalid."""
    if features.shape[0] == 0:
        features = features.new_zeros(1, features.shape[1]) + features.sum()  # preserves the graph
    mine = anchors.valid & (anchors.source == rank())
    rows = at_least_float32(take_rows(features, torch.where(mine, anchors.index, 0)))
    parts = all_gather(torch.where(mine[:, None], rows, 0.0))
    return parts[anchors.source, torch.arange(len(mine), device=mine.device)]


@torch.no_grad()
def gather_numbers(values: Int[Tensor, " voxels"], anchors: Anchors) -> Int[Tensor, " anchors"]:
    """Gather a number of each anchor from all ranks; 0 where invalid."""
    mine = anchors.valid & (anchors.source == rank())
    rows = values.new_zeros(len(mine)) if len(values) == 0 else values[torch.where(mine, anchors.index, 0)]
    parts = all_gather(torch.where(mine, rows, 0))
    return parts[anchors.source, torch.arange(len(mine), device=mine.device)]


def first_of_place(place: Int[Tensor, " voxels"], keys: Int[Tensor, " voxels"]) -> Bool[Tensor, " voxels"]:
    """Return a mask of the voxel with the smallest key of each place."""
    home = torch.searchsorted(place.sort().values, place)  # one number below len(place) for each place
    smallest = torch.full_like(keys, LAST).scatter_reduce_(0, home, keys, "amin")
    return keys == smallest[home]


def _counts(group: Tensor, groups: int) -> Int[Tensor, "world groups_and_none"]:
    """Count the voxels of each group, and those not sampled, on every rank."""
    local = torch.zeros(groups + 1, dtype=torch.int64, device=group.device)
    return all_gather(local.scatter_add_(0, group, torch.ones_like(group)))


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
    salt = mix(mix(torch.full_like(step, seed % KEY_RANGE)) ^ (step % KEY_RANGE))
    return mix((first + torch.arange(count, device=step.device)) ^ salt)


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


def _capacity(groups: int, anchors: int) -> int:
    """Buffer size for the candidates of one rank, ten standard deviations above the expected maximum."""
    each = torch.tensor(anchors / groups, dtype=torch.float64)
    expected = groups * float(_margin(each))
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
    num_classes: int,
    per_class: int,
    total: int | None,
) -> Anchors:
    """Select from every rank's candidates the smallest keys of each group up to its quota, ordered by class."""
    parts = len(quotas) // num_classes
    size = num_classes * per_class if total is None else min(total, num_classes * per_class)
    codes, order = codes.flatten().sort()
    group = (codes // KEY_RANGE).clamp_max(len(quotas))
    chosen = _rank_within(group) < torch.cat([quotas, quotas.new_zeros(1)])[group]
    by_class = torch.where(chosen, group // parts * KEY_RANGE + codes % KEY_RANGE, LAST)
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
        hard=(group[again] * 2 // parts % 2 == 0) & valid,
        valid=valid,
        cell=(class_id * per_class + torch.arange(size, device=codes.device) - first[class_id]) * valid,
        slots=(first[:-1, None] + column).clamp_max(size - 1),
        present=column < first.diff()[:, None],
    )


def _rank_within(group: Int[Tensor, " sorted"]) -> Int[Tensor, " sorted"]:
    """Position of each entry among its equals, in a sorted list."""
    return torch.arange(len(group), device=group.device) - torch.searchsorted(group, group)
