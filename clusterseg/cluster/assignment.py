"""Assign the anchors of each class to clusters: balanced over the step or over the bank too, nearest, or given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clusterseg.cluster.bank import Bank
from clusterseg.cluster.centers import Centers
from clusterseg.cluster.sinkhorn import Assignment, balanced_assignment


@dataclass(frozen=True)
class Rule:
    """How anchors are assigned; see the settings of `ClusterHead` of the same names."""

    assignment: str
    lambda_: float
    sinkhorn_rounds: int
    anchors_per_cluster: int
    queue_rows: int


@dataclass(frozen=True)
class Members:
    """The embedded and assigned anchors of one step: C classes, at most n anchors and K clusters each."""

    embeddings: Float[Tensor, "anchors dim"]
    valid: Bool[Tensor, " anchors"]
    subclass: Int[Tensor, " anchors"]
    """class * K + cluster."""
    table: Float[Tensor, "classes per_class dim"]
    """The embeddings by class, detached."""
    membership: Bool[Tensor, "classes per_class clusters"]
    """Cluster of each anchor in the table."""
    marginal_error: Float[Tensor, " classes"]


@torch.no_grad()
def assign(
    rule: Rule,
    table: Float[Tensor, "classes per_class dim"],
    present: Bool[Tensor, "classes per_class"],
    centers: Centers,
    bank: Bank,
) -> Assignment:
    """Assign the anchors of each class to its seeded centres, by a rule that needs the centres."""
    vectors = centers.vectors.transpose(1, 2)
    if rule.assignment == "nearest":
        return nearest(torch.bmm(table, vectors), present, centers.seeded)
    rows, exists = table, present
    if rule.assignment == "queue":
        queue, written = bank.latest(rule.queue_rows)
        rows = torch.cat([table, queue.view(len(table), -1, table.shape[2])], dim=1)
        exists = torch.cat([present, written.view(len(present), -1)], dim=1)
    scores = torch.bmm(rows, vectors)
    active = most_wanted(scores, exists, centers.seeded, rule.anchors_per_cluster)
    balanced = balanced_assignment(scores, exists, active, rule.lambda_, rule.sinkhorn_rounds)
    return Assignment(balanced.labels[:, : table.shape[1]], balanced.marginal_error)


def nearest(
    scores: Float[Tensor, "classes anchors clusters"],
    anchor_mask: Bool[Tensor, "classes anchors"],
    cluster_mask: Bool[Tensor, "classes clusters"],
) -> Assignment:
    """Assign every anchor to its nearest centre, as k-means does."""
    labels = scores.masked_fill(~cluster_mask[:, None], float("-inf")).argmax(-1)
    one_hot = torch.arange(scores.shape[2], device=scores.device) == labels[..., None]
    mass = (one_hot & anchor_mask[..., None]).sum(1).double() / anchor_mask.sum(1, keepdim=True).clamp_min(1)
    error = torch.where(cluster_mask, mass * cluster_mask.sum(1, keepdim=True) - 1, 0.0).abs().amax(1)
    return Assignment(labels, torch.where(anchor_mask.any(1) & cluster_mask.any(1), error, 0.0))


def most_wanted(
    scores: Float[Tensor, "classes anchors clusters"],
    anchor_mask: Bool[Tensor, "classes anchors"],
    cluster_mask: Bool[Tensor, "classes clusters"],
    anchors_per_cluster: int,
) -> Bool[Tensor, "classes clusters"]:
    """Return the clusters to balance: those that most anchors are nearest to, n // `anchors_per_cluster` of them.

    Near-identical points of a class with few anchors would otherwise be spread over all its clusters, and repel each
    other. At least one stays; 0 anchors per cluster keeps all.
    """
    if anchors_per_cluster == 0:
        return cluster_mask
    wanted = nearest(scores, anchor_mask, cluster_mask).labels
    ids = torch.arange(scores.shape[2], device=scores.device)
    votes = ((wanted[..., None] == ids) & anchor_mask[..., None]).sum(1).masked_fill(~cluster_mask, -1)
    place = votes.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    most = (anchor_mask.sum(1, keepdim=True) // anchors_per_cluster).clamp_min(1)
    return cluster_mask & (place < most)


def usage_entropy(
    membership: Bool[Tensor, "classes per_class clusters"], seeded: Bool[Tensor, "classes clusters"]
) -> Float[Tensor, ""]:
    """Normalised entropy of the cluster usage of each class, averaged over the classes with anchors.

    The entropy of the shares is divided by its maximum, the logarithm of min(anchors, clusters): 1 for an even spread.
    """
    counts = membership.sum(1)
    size = counts.sum(1)
    shares = counts / size.clamp_min(1)[:, None]
    largest = torch.minimum(seeded.sum(1), size).clamp_min(2).log()
    entropy = torch.special.entr(shares).sum(1) / largest
    return entropy.sum() / (size > 0).sum().clamp_min(1)


def share(part: Bool[Tensor, "*shape"], whole: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Share of the true entries of `whole` that are also true in `part`; 0 if there are none."""
    return (part & whole).sum() / whole.sum().clamp_min(1)
