"""Balanced assignment: spread the anchors of a class evenly over its clusters, by optimal transport.

Each anchor sends mass 1/n, each cluster takes 1/K, and the plan is exp(lambda * score + f_i + g_k): the transport
problem that the paper solves by Sinkhorn-Knopp (Cuturi 2013; Asano et al. 2020, "Self-labelling"). Eliminating f
leaves a concave function of K numbers per class,

    F(g) = sum_k g_k / K - mean_i log sum_k exp(lambda * score_ik + g_k),

whose gradient is the error of the cluster marginals. Sinkhorn's round is one ascent step on it; where modes are well
apart it needs thousands of them. So each round also tries Newton steps of several lengths (Brauer et al. 2017,
"A Sinkhorn-Newton method") and takes the best of all: never worse than Sinkhorn, and done in about ten rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SHORTER = (0.5, 0.25, 0.1, 0.03)  # additional lengths of the Newton step to try
MAX_STEP = 20.0  # bounds exp(step); a step of this length multiplies a cluster's mass by 5e8
TIE = 1e-5  # weight of the scores as tie-breaker: the plan spreads a single anchor evenly over all clusters
RIDGE = 1e-10  # clusters that no anchor reaches yet have no curvature


@dataclass(frozen=True)
class Assignment:
    """A hard assignment and the balance of its transport plan."""

    labels: Int[Tensor, "classes anchors"]
    """Cluster of each anchor, in 0..K-1; of no meaning where the anchor mask is false."""
    marginal_error: Float[Tensor, " classes"]
    """Largest |K * mass - 1| over the clusters of the class; 0 for a class without anchors or clusters."""


@torch.no_grad()
def balanced_assignment(
    scores: Float[Tensor, "classes anchors clusters"],
    anchor_mask: Bool[Tensor, "classes anchors"],
    cluster_mask: Bool[Tensor, "classes clusters"],
    lambda_: float = 25.0,
    rounds: int = 12,
) -> Assignment:
    """Assign every anchor to one cluster of its class, with balanced masses (METHOD step 3), in float64.

    Args:
        scores: Logarithms of the scores. A constant per anchor cancels, so the cosines X P^T stand for
            log softmax(X P^T) as well.
        anchor_mask: Mask of the existing anchors; classes are padded to one length.
        cluster_mask: Mask of the clusters to balance.
        lambda_: Power of the scores: the inverse of the entropic regularisation.
        rounds: Fixed number of rounds, so that no class waits for another and no device for the host.

    Examples:
        >>> scores = torch.tensor([[[0.9, 0.1], [0.8, 0.1], [0.7, 0.1], [0.6, 0.1]]])  # all like the first one better
        >>> every = torch.ones(1, 4, dtype=torch.bool)
        >>> balanced_assignment(scores, every, every[:, :2]).labels
        tensor([[0, 0, 1, 1]])
    """
    active = cluster_mask | ~cluster_mask.any(1, keepdim=True)
    kernel = (lambda_ * scores.double()).masked_fill(~active[:, None], float("-inf"))
    anchor_mass = anchor_mask / anchor_mask.sum(1, keepdim=True).clamp_min(1).double()
    cluster_mass = active / active.sum(1, keepdim=True).double()
    # F is flat along constants and in masked clusters; this fills its Hessian in where it is singular.
    filling = cluster_mass[:, :, None] * active[:, None] + torch.diag_embed(RIDGE + (~active).double())
    potential = torch.zeros_like(cluster_mass)
    for _ in range(rounds):
        shares = (kernel + potential[:, None]).softmax(-1)
        potential = potential + _best_step(shares, anchor_mass, cluster_mass, active, filling)
    plan = kernel + potential[:, None]
    received = torch.einsum("cn,cnk->ck", anchor_mass, plan.softmax(-1))
    error = torch.where(active, received / cluster_mass.clamp_min(1e-300) - 1, 0.0).abs().amax(1)
    exists = anchor_mask.any(1) & cluster_mask.any(1)
    return Assignment(labels=(plan + TIE * kernel).argmax(-1), marginal_error=torch.where(exists, error, 0.0))


def _best_step(shares: Tensor, anchor_mass: Tensor, cluster_mass: Tensor, active: Tensor, filling: Tensor) -> Tensor:
    """Return the step in g (classes, clusters) that raises F most, among Sinkhorn's and Newton's of several lengths."""
    received = torch.einsum("cn,cnk->ck", anchor_mass, shares)
    sinkhorn = cluster_mass.clamp_min(1e-300).log() - received.clamp_min(1e-300).log()
    newton = _newton_step(shares, anchor_mass, received, cluster_mass - received, filling)
    steps = torch.stack([sinkhorn, newton], dim=1).masked_fill(~active[:, None], 0.0)
    steps = steps * (MAX_STEP / steps.abs().amax(-1, keepdim=True).clamp_min(MAX_STEP))
    steps = torch.cat([steps, *(length * steps[:, 1:] for length in SHORTER)], dim=1)
    # F(g + step) - F(g): the shares already hold exp(g), so no exponential of the whole plan is needed.
    growth = torch.bmm(shares, steps.exp().transpose(1, 2)).clamp_min(1e-300).log()
    gain = (steps * cluster_mass[:, None]).sum(-1) - torch.einsum("cn,cns->cs", anchor_mass, growth)
    best = gain.nan_to_num(nan=float("-inf")).argmax(1)
    return steps[torch.arange(len(best), device=best.device), best]


def _newton_step(shares: Tensor, anchor_mass: Tensor, received: Tensor, gradient: Tensor, filling: Tensor) -> Tensor:
    """Solve (filling - Hessian of F) step = gradient; (classes, clusters), NaN where the factorisation fails."""
    curvature = torch.diag_embed(received) - torch.bmm((shares * anchor_mass[..., None]).transpose(1, 2), shares)
    factor, _ = torch.linalg.cholesky_ex(curvature + filling)
    return torch.cholesky_solve(gradient[..., None], factor).squeeze(-1)
