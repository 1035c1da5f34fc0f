"""The clustering head: project -> assign -> contrast -> update, in addition to the usual losses, in training only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from clusterseg.cluster.assignment import Members, Rule, assign, share, usage_entropy
from clusterseg.cluster.bank import Bank
from clusterseg.cluster.base import Head, HeadOutput
from clusterseg.cluster.centers import Centers
from clusterseg.cluster.contrast import MIN_TEMPERATURE
from clusterseg.cluster.draw import Draw, asked_for
from clusterseg.cluster.projection import project, projection_mlp, unit_rows
from clusterseg.cluster.sampling import Anchors, gather_anchors
from clusterseg.cluster.settings import clusters_by_class, default_settings, require_fitting
from clusterseg.cluster.sinkhorn import Assignment
from clusterseg.cluster.terms import Terms
from clusterseg.config.signatures import checked

Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(ge=MIN_TEMPERATURE, allow_inf_nan=False)]


@checked("model.cluster")
class ClusterHead(Head):
    """Online clustering within classes, and contrast against the subclasses (ICCV 2023, arXiv 2307.14605).

    On several ranks the anchors are gathered, and every rank does the same computation on the same numbers: the loss is
    that of the joint batch, the state is identical on all ranks, the projection's gradients are complete on each, and
    each rank's features get the gradient of their own anchors (see `all_gather` for its scale). The state is stored in
    persistent buffers.

    Args:
        in_channels: Width of the tapped features.
        class_names: Names of the classes, in the order of the label ids.
        clusters_per_class: K, one number for all classes or by class name, with `default` for the rest.
        tap: Backbone features that feed the head, `bottleneck` or `decoder`.
        projection: Widths of the projection MLP; empty to cluster the features directly.
        assignment: How anchors find their cluster: `step` balances the anchors of a step over the clusters of their
            class, `queue` those and the newest vectors of the bank, `nearest` takes the nearest centre. Two controls
            know the clusters beforehand: `modes`, the true subclasses of synthetic data, and `random`, a cluster
            drawn once for each thing (for each coarse cell of a scan, where points belong to no thing).
        anchors_per_cluster: Anchors that a cluster must be able to get: n anchors are balanced over at most
            n // `anchors_per_cluster` clusters, and seed no more; 0 for no bound.
        queue_rows: Vectors of each subclass that `queue` reads, as far as the bank holds them.
        merge_above: Cosine above which two centres of a class become one, so that the number of clusters follows the
            data up to K (see `Centers`); None for K always.
        anchors_from: `voxels` draws all voxels of a class alike; `cells` one of each cubic cell first, `things` one of
            each instance first (one of each cell where voxels belong to none), and fills up with the others.
        cell_size: Edge of a cell in metres.
        update_from: Anchors that move centres and fill the bank: `all`, or the `correct`ly classified ones.
        views: 2 embeds every anchor in a second augmentation of its scan as well; each view is contrasted with the
            clusters that the other was assigned to. It costs a second forward pass of the network.
        momentum: Mu of the centres.
        temperature: Tau of the contrast.
        tau_base: The contrast is scaled by tau / tau_base.
        same_class_negatives: Weight of other subclasses of the own class among the negatives: 1 as other classes, 0
            none.
        lambda_: Power of the scores in the assignment.
        sinkhorn_rounds: Rounds of the assignment.
        anchors_per_class: Maximum number of anchors of a class per step.
        anchors_total: Maximum number of anchors per step, shared evenly by the classes present; None for no limit.
        bank_size: Vectors stored for each subclass.
        bank_push: Maximum number of vectors written per subclass and step.
        weight: Weight of all terms.
        weight_point_point: Weight of the contrast against the other anchors.
        weight_point_center: Weight of the contrast against the centres of the classes present.
        weight_point_bank: Weight of the contrast against the bank.
        weight_classifier: Weight of a classifier by the nearest centre of each class, see `prototype_loss`.
        weight_distance: Weight of the squared distance from the own centre, see `distance_loss`.
        start_step: First step with a weight above 0; before it the clusters are only tracked.
        ramp_steps: Steps of the linear rise of the weight from there; 0 for none.
        reseed_after: Steps of its class after which a centre without anchors is seeded again; 0 never.
        seed: Seed of the anchor sampling.

    Raises:
        UserError: A setting is out of range, or a class name is unknown.

    Examples:
        >>> head = ClusterHead.default(96, ["car", "road"], clusters_per_class=4)
        >>> labels = torch.arange(200) % 2
        >>> output = head(torch.randn(200, 96), labels, predictions=labels)
        >>> sorted(output.losses)
        ['point_bank', 'point_center', 'point_point']
    """

    step: Tensor

    def __init__(
        self,
        in_channels: int,
        class_names: Sequence[str],
        *,
        clusters_per_class: Count | Mapping[str, Count],
        tap: str,
        projection: Sequence[Count],
        assignment: Literal["step", "queue", "nearest", "modes", "random"],
        anchors_per_cluster: Steps,
        queue_rows: Count,
        merge_above: Annotated[float, Field(gt=-1, lt=1)] | None,
        anchors_from: Literal["voxels", "cells", "things"],
        cell_size: Annotated[float, Field(gt=0, allow_inf_nan=False)],
        update_from: Literal["all", "correct"],
        views: Literal[1, 2],
        momentum: Annotated[float, Field(ge=0, le=1)],
        temperature: Temperature,
        tau_base: Temperature,
        same_class_negatives: Share,
        lambda_: Weight,
        sinkhorn_rounds: Count,
        anchors_per_class: Count,
        anchors_total: Count | None,
        bank_size: Count,
        bank_push: Count,
        weight: Weight,
        weight_point_point: Weight,
        weight_point_center: Weight,
        weight_point_bank: Weight,
        weight_classifier: Weight,
        weight_distance: Weight,
        start_step: Steps,
        ramp_steps: Steps,
        reseed_after: Steps,
        seed: int,
    ) -> None:
        super().__init__()
        weights = {
            "point_point": weight_point_point,
            "point_center": weight_point_center,
            "point_bank": weight_point_bank,
            "classifier": weight_classifier,
            "distance": weight_distance,
        }
        require_fitting(bank_push, bank_size, anchors_total, class_names, weights)
        self.class_names = list(class_names)
        self.tap = tap
        self.rule = Rule(assignment, lambda_, sinkhorn_rounds, anchors_per_cluster, min(queue_rows, bank_size))
        most = min(anchors_per_class, anchors_total or anchors_per_class)
        self.draw = Draw(anchors_from, cell_size, most, anchors_total, seed)
        self.update_from = update_from
        self.views = views
        self.asks = asked_for(assignment, anchors_from, views)
        self.terms = Terms(weights, temperature, tau_base, same_class_negatives)
        self.weights = {name: weight * value for name, value in weights.items()}
        self.start_step = start_step
        self.ramp_steps = ramp_steps
        clusters = clusters_by_class(class_names, clusters_per_class)
        dim = [in_channels, *projection][-1]
        self.proj = projection_mlp(in_channels, projection)
        self.centers = Centers(clusters, dim, momentum, reseed_after, max(anchors_per_cluster, 1), merge_above)
        self.bank = Bank(len(clusters) * max(clusters), bank_size, bank_push, dim)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        features: Float[Tensor, "voxels channels"],
        labels: Int[Tensor, " voxels"],
        predictions: Int[Tensor, " voxels"],
        **asked: Tensor,
    ) -> HeadOutput:
        """Run one step. In training mode it also updates centres, bank and step counter.

        Args:
            features: Tapped backbone features of this rank's batch, any float type; the head works in float32 or wider.
            labels: Class ids, 255 to ignore.
            predictions: The backbone's current class ids, which separate hard anchors from easy ones.
            **asked: The inputs named in `asks`.
        """
        with torch.autocast(features.device.type, enabled=False):
            anchors = self.draw.anchors(labels, predictions, len(self.class_names), self.step, asked)
            clusters = self.centers.exists.sum(1)
            given, known = self.draw.given(self.rule.assignment, anchors, clusters, asked)
            views = [features, asked["other"]] if self.views == 2 else [features]
            rows = torch.cat([gather_anchors(view, anchors) for view in views])
            valid = anchors.valid & known
            rows = project(self.proj, rows, valid.repeat(len(views)))
            embeddings, alive = (part.chunk(len(views)) for part in unit_rows(rows))
            valid = torch.stack([valid, *alive]).all(0)
            if self.training:
                self._seed(embeddings[0].detach(), valid, given, anchors)
            members = [self._members(view, valid, given, anchors) for view in embeddings]
            losses = self._losses(members)
            stats = self._stats(members[0], anchors)
            if self.training:
                stats["drift"] = self._update(members[0], anchors)
        return HeadOutput(losses, stats)

    def same_on_all_ranks(self) -> list[str]:
        """Return the buffers of centres and bank, about 10 MB, and the step counter."""
        return [name for name, _ in self.named_buffers() if not name.startswith("proj.")]

    @classmethod
    def default(cls, in_channels: int, class_names: Sequence[str], **changes: Any) -> ClusterHead:
        """Build a head with the settings of `conf/model/cluster/default.yaml`, except those given.

        Examples:
            >>> head = ClusterHead.default(96, ["car", "road"], clusters_per_class=4)
            >>> head.centers.vectors.shape
            torch.Size([2, 4, 64])
        """
        return cls(in_channels, class_names, **{**default_settings(), **changes})

    @torch.no_grad()
    def subclasses(
        self, features: Float[Tensor, "voxels channels"], labels: Int[Tensor, " voxels"], chunk: int = 16384
    ) -> Int[Tensor, " voxels"]:
        """Return the cluster (0..K-1 within its class) with the nearest centre; call in evaluation mode.

        Args:
            features: Tapped backbone features.
            labels: The class of each voxel, 255 to ignore.
            chunk: Voxels per block, which bounds the memory.

        Returns:
            -1 where the label is ignored or its class has no centre yet.
        """
        known = (labels >= 0) & (labels < len(self.class_names))
        classes = torch.where(known, labels, 0)
        centers = self.centers.vectors.flatten(0, 1)
        nearest = []
        for rows, label in zip(features.split(chunk), classes.split(chunk), strict=True):
            embeddings, _ = unit_rows(
                project(self.proj, rows.to(centers.dtype), torch.ones_like(label, dtype=torch.bool))
            )
            scores = (embeddings @ centers.T).unflatten(1, self.centers.seeded.shape)
            scores = scores.masked_fill(~self.centers.seeded, -2.0)
            nearest.append(scores[torch.arange(len(label), device=label.device), label].argmax(1))
        return torch.where(known & self.centers.seeded.any(1)[classes], torch.cat(nearest), -1)

    @torch.no_grad()
    def _seed(self, embeddings: Tensor, valid: Tensor, given: Tensor | None, anchors: Anchors) -> None:
        """Place vacant centres on anchors, and forget what the bank holds of them."""
        present = anchors.present & valid[anchors.slots]
        membership = None
        if given is not None:
            membership = self._one_hot(given[anchors.slots]) & present[..., None]
        self.bank.clear(self.centers.seed(embeddings[anchors.slots], present, membership).flatten())

    def _one_hot(self, labels: Tensor) -> Tensor:
        return labels[..., None] == torch.arange(self.centers.seeded.shape[1], device=labels.device)

    def _members(self, embeddings: Tensor, valid: Tensor, given: Tensor | None, anchors: Anchors) -> Members:
        """Assign the anchors of each class to clusters."""
        centers = self.centers
        table = embeddings.detach()[anchors.slots]
        present = anchors.present & valid[anchors.slots]
        if given is None:
            assignment = assign(self.rule, table, present, centers, self.bank)
        else:
            assignment = Assignment(given[anchors.slots], torch.zeros_like(centers.vectors[:, 0, 0]))
        labels = assignment.labels
        assigned = present & centers.seeded.any(1, keepdim=True)
        return Members(
            embeddings=embeddings,
            valid=valid & assigned.flatten()[anchors.cell],
            subclass=anchors.class_id * centers.seeded.shape[1] + labels.flatten()[anchors.cell],
            table=table,
            membership=self._one_hot(labels) & assigned[..., None],
            marginal_error=assignment.marginal_error,
        )

    def _losses(self, members: Sequence[Members]) -> dict[str, Tensor]:
        """Compute the weighted terms, each view with the clusters of the other."""
        ramp = self.ramp()
        swapped = [replace(own, subclass=other.subclass) for own, other in zip(members, members[::-1], strict=True)]
        terms = [self.terms(each, self.centers, self.bank) for each in swapped]
        return {name: self.weights[name] * ramp * sum(found[name] for found in terms) / len(terms) for name in terms[0]}

    def ramp(self) -> Float[Tensor, ""]:
        """Share of the full weight at this step: 0 before `start_step`, then rising to 1 in `ramp_steps`."""
        return ((self.step - self.start_step + 1) / max(self.ramp_steps, 1)).clamp(0, 1)

    @torch.no_grad()
    def _update(self, members: Members, anchors: Anchors) -> Tensor:
        """Update centres, bank and step counter; return the centres' drift."""
        membership, valid = members.membership, members.valid
        if self.update_from == "correct":
            valid = valid & ~anchors.hard
            membership = membership & ~anchors.hard[anchors.slots][..., None]
        drift = self.centers.update(members.table, membership)
        self.bank.update(members.embeddings.detach(), members.subclass, valid)
        self.step.add_(1)
        return drift

    @torch.no_grad()
    def _stats(self, members: Members, anchors: Anchors) -> dict[str, Tensor]:
        """Return scalars for the log; `used/<class>` counts subclasses used when the class was last sampled."""
        rows = self.centers.exists.flatten()[:, None].expand_as(self.bank.written)
        used = self.centers.used().float().unbind()
        return {
            "anchors": members.valid.sum().float(),
            "hard": share(anchors.hard, members.valid),
            "entropy": usage_entropy(members.membership, self.centers.seeded),
            "sinkhorn_error": members.marginal_error.max().float(),
            "bank_fill": share(self.bank.written, rows),
            **{f"used/{name}": count for name, count in zip(self.class_names, used, strict=True)},
        }
