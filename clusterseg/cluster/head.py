"""The clustering head: project -> assign -> contrast -> update, in addition to the usual losses, in training only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from clusterseg.cluster.assignment import Members, share, usage_entropy
from clusterseg.cluster.bank import Bank
from clusterseg.cluster.centers import Centers
from clusterseg.cluster.contrast import MIN_TEMPERATURE, bank_contrast, contrast
from clusterseg.cluster.projection import project, projection_mlp, unit_rows
from clusterseg.cluster.sampling import Anchors, gather_anchors, sample_anchors
from clusterseg.cluster.settings import clusters_by_class, default_settings, require_fitting
from clusterseg.cluster.sinkhorn import balanced_assignment
from clusterseg.config.signatures import checked

Count = Annotated[int, Field(ge=1)]
Steps = Annotated[int, Field(ge=0)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=MIN_TEMPERATURE, allow_inf_nan=False)]


@dataclass(frozen=True)
class ClusterOutput:
    """The result of one step of the head."""

    losses: dict[str, Tensor]
    """Weighted terms by name (point_point, point_center, point_bank), ready to be added to the total loss."""
    stats: dict[str, Tensor]
    """Detached scalars for logging."""


@checked("model.cluster")
class ClusterHead(nn.Module):
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
        momentum: Mu of the centres.
        temperature: Tau of the contrast.
        tau_base: The contrast is scaled by tau / tau_base.
        lambda_: Power of the scores in the assignment.
        sinkhorn_rounds: Rounds of the assignment.
        anchors_per_class: Maximum number of anchors of a class per step.
        anchors_total: Maximum number of anchors per step, shared evenly by the classes present; None for no limit.
        bank_size: Vectors stored for each subclass.
        bank_push: Maximum number of vectors written per subclass and step.
        weight: Weight of all three terms.
        weight_point_point: Weight of the contrast against the other anchors.
        weight_point_center: Weight of the contrast against the centres of the classes present.
        weight_point_bank: Weight of the contrast against the bank.
        start_step: First step with a weight above 0; before it the clusters are only tracked.
        ramp_steps: Steps of the linear rise of the weight from there; 0 for none.
        reseed_after: Steps of its class after which a centre without anchors is seeded again; 0 never.
        seed: Seed of the anchor sampling.

    Raises:
        UserError: A setting is out of range, or a class name is unknown.
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
        momentum: Annotated[float, Field(ge=0, le=1)],
        temperature: Temperature,
        tau_base: Temperature,
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
        start_step: Steps,
        ramp_steps: Steps,
        reseed_after: Steps,
        seed: int,
    ) -> None:
        super().__init__()
        require_fitting(bank_push, bank_size, anchors_total, class_names)
        weights = {
            "point_point": weight_point_point,
            "point_center": weight_point_center,
            "point_bank": weight_point_bank,
        }
        self.class_names = list(class_names)
        self.tap = tap
        self.temperature = temperature
        self.tau_base = tau_base
        self.lambda_ = lambda_
        self.sinkhorn_rounds = sinkhorn_rounds
        self.anchors_per_class = min(anchors_per_class, anchors_total or anchors_per_class)
        self.anchors_total = anchors_total
        self.weights = {name: weight * value for name, value in weights.items()}
        self.start_step = start_step
        self.ramp_steps = ramp_steps
        self.seed = seed
        clusters = clusters_by_class(class_names, clusters_per_class)
        dim = [in_channels, *projection][-1]
        self.proj = projection_mlp(in_channels, projection)
        self.centers = Centers(clusters, dim, momentum, reseed_after)
        self.bank = Bank(len(clusters) * max(clusters), bank_size, bank_push, dim)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        features: Float[Tensor, "voxels channels"],
        labels: Int[Tensor, " voxels"],
        predictions: Int[Tensor, " voxels"],
    ) -> ClusterOutput:
        """Run one step. In training mode it also updates centres, bank and step counter.

        Args:
            features: Tapped backbone features of this rank's batch, any float type; the head works in float32 or wider.
            labels: Class ids, 255 to ignore.
            predictions: The backbone's current class ids, which separate hard anchors from easy ones.
        """
        with torch.autocast(features.device.type, enabled=False):
            anchors = sample_anchors(
                labels,
                predictions,
                len(self.class_names),
                self.anchors_per_class,
                self.anchors_total,
                self.seed,
                self.step,
            )
            rows = project(self.proj, gather_anchors(features, anchors), anchors.valid)
            embeddings, alive = unit_rows(rows)
            valid = anchors.valid & alive
            table = embeddings.detach()[anchors.slots]
            present = anchors.present & valid[anchors.slots]
            if self.training:
                self._seed(table, present)
            members = self._assign(embeddings, valid, table, present, anchors)
            losses = self._contrast(members)
            stats = self._stats(members, anchors)
            if self.training:
                stats["drift"] = self._update(members)
        return ClusterOutput(losses, stats)

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

    def _seed(self, table: Tensor, present: Tensor) -> None:
        self.bank.clear(self.centers.seed(table, present).flatten())

    def _assign(self, embeddings: Tensor, valid: Tensor, table: Tensor, present: Tensor, anchors: Anchors) -> Members:
        """Assign the anchors of each class to balanced clusters."""
        centers = self.centers
        scores = torch.bmm(table, centers.vectors.transpose(1, 2))
        assignment = balanced_assignment(scores, present, centers.seeded, self.lambda_, self.sinkhorn_rounds)
        clusters = centers.seeded.shape[1]
        labels = assignment.labels
        assigned = present & centers.seeded.any(1, keepdim=True)
        membership = (labels[..., None] == torch.arange(clusters, device=labels.device)) & assigned[..., None]
        return Members(
            embeddings=embeddings,
            valid=valid & assigned.flatten()[anchors.cell],
            subclass=anchors.class_id * clusters + labels.flatten()[anchors.cell],
            table=table,
            membership=membership,
            marginal_error=assignment.marginal_error,
        )

    def _contrast(self, members: Members) -> dict[str, Tensor]:
        """Compute the three weighted terms against the state before this step's update."""
        x, valid, subclass = members.embeddings, members.valid, members.subclass
        tau, base = self.temperature, self.tau_base
        same = subclass[:, None] == subclass
        both = valid[:, None] & valid
        itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
        targets = (self.centers.seeded & members.membership.any((1, 2))[:, None]).flatten()
        own = subclass[:, None] == torch.arange(len(targets), device=x.device)
        usable = valid[:, None] & targets
        # A copy: the update below changes the buffer before backward reads it.
        centers = self.centers.vectors.flatten(0, 1).clone()
        terms = {
            "point_point": contrast(x, x, same & both & ~itself, ~same & both, tau, base),
            "point_center": contrast(x, centers, own & usable, ~own & usable, tau, base),
            "point_bank": bank_contrast(x, valid, subclass, self.bank.vectors, self.bank.written, tau, base),
        }
        ramp = self.ramp()
        return {name: self.weights[name] * ramp * term for name, term in terms.items()}

    def ramp(self) -> Float[Tensor, ""]:
        """Share of the full weight at this step: 0 before `start_step`, then rising to 1 in `ramp_steps`."""
        return ((self.step - self.start_step + 1) / max(self.ramp_steps, 1)).clamp(0, 1)

    @torch.no_grad()
    def _update(self, members: Members) -> Tensor:
        """Update centres, bank and step counter; return the centres' drift."""
        drift = self.centers.update(members.table, members.membership)
        self.bank.update(members.embeddings.detach(), members.subclass, members.valid)
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
