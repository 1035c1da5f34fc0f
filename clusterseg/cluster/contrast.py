"""The contrastive loss: pull an anchor to its own subclass, push it from all others (METHOD step 4).

For anchor i, with logits l_ij = a_i . b_j / tau against a contrast set,

    -log p_ij = -log( exp(l_ij) / (exp(l_ij) + N_i) ) = softplus(log N_i - l_ij),   N_i = sum over negatives exp(l_ij)

and a term is (tau / tau_base) * the mean over anchors of the mean over an anchor's positives. Rows are unit vectors,
so |l| <= 1/tau and exp needs no maximum taken off. N_i sums the negatives themselves: total minus positives
would cancel. Anchors without positives do not enter the mean; a term without any is 0 with zero gradient. Negatives may
have weights: other subclasses of the own class may repel less than other classes, or not at all.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

MIN_TEMPERATURE = 0.02  # exp(1 / 0.02) summed over a whole bank is still a float32
NOTHING = 1e-30  # replaces N_i = 0 for an anchor without negatives
BLOCK = 128  # anchors per block against the whole bank, so that the logits stay in cache
LONG = 256  # rings longer than this are not copied for each anchor


def contrast(
    anchors: Float[Tensor, "anchors dim"],
    others: Float[Tensor, "others dim"],
    positives: Bool[Tensor, "anchors others"],
    negatives: Bool[Tensor, "anchors others"] | Float[Tensor, "anchors others"],
    temperature: float = 0.1,
    tau_base: float = 2.0,
) -> Float[Tensor, ""]:
    """Compute one contrast term with masks of positives and negatives; the gradient flows to both sides.

    Args:
        anchors: Unit rows.
        others: Unit rows: the anchors again, or class centres, or a bank.
        positives: Pairs to pull together.
        negatives: Pairs to push apart, or their weights in N_i. A pair in neither mask does not count.
        temperature: Tau, at least 0.02.
        tau_base: The term is scaled by tau / tau_base.

    Examples:
        >>> anchors = torch.tensor([[1.0, 0.0]])
        >>> centres = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # the own one, and another
        >>> own = torch.tensor([[True, False]])
        >>> near = contrast(anchors, centres, own, ~own)
        >>> far = contrast(anchors.flip(1), centres, own, ~own)
        >>> round(float(near), 4), round(float(far), 4)
        (0.0, 0.5)
    """
    return temperature / tau_base * _Contrast.apply(anchors, others, positives, negatives, temperature)


class _Contrast(torch.autograd.Function):
    """With s_ij = sigmoid(log N_i - l_ij) for the positives and S_i their sum, the gradient of the logits is, up to the
    weight of the anchor, exp(l_ij) S_i / N_i for a negative and -s_ij for a positive."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, others: Tensor, positives: Tensor, negatives: Tensor, tau: float) -> Tensor:
        weight = _anchor_weights(positives.sum(1), anchors.dtype)
        loss = anchors.new_zeros(())
        grad_anchors, grad_others = torch.zeros_like(anchors), torch.zeros_like(others)
        for block in _blocks(weight, BLOCK if anchors.device.type == "cpu" else len(anchors)):
            pull_pairs, push_pairs = positives[block], negatives[block]
            logits = (anchors[block] / tau) @ others.T
            powers = logits.exp()
            powers = powers.masked_fill_(~push_pairs, 0) if push_pairs.dtype == torch.bool else powers.mul_(push_pairs)
            repulsion = powers.sum(1, keepdim=True).clamp_min(NOTHING)
            gap = logits.neg_().add_(repulsion.log())
            terms = F.softplus(gap).masked_fill_(~pull_pairs, 0).sum(1)
            loss = loss + (terms * weight[block]).sum()
            pull = gap.sigmoid_().masked_fill_(~pull_pairs, 0)
            slope = powers.mul_(pull.sum(1, keepdim=True) / repulsion).sub_(pull).mul_(weight[block, None] / tau)
            grad_anchors[block] = slope @ others
            if ctx.needs_input_grad[1]:
                grad_others.addmm_(slope.T, anchors[block])
        ctx.save_for_backward(grad_anchors, grad_others)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        grad_anchors, grad_others = ctx.saved_tensors
        return grad_anchors * grad_loss, grad_others * grad_loss, None, None, None


def _anchor_weights(counts: Int[Tensor, " anchors"], dtype: torch.dtype) -> Float[Tensor, " anchors"]:
    """Weight of a positive of each anchor: mean over its positives, and over the anchors with positives."""
    return (counts > 0) / (counts.clamp_min(1) * (counts > 0).sum().clamp_min(1)).to(dtype)


def _blocks(weight: Float[Tensor, " anchors"], size: int) -> tuple[Tensor, ...]:
    """Yield blocks of anchors. Anchors without weight are skipped where this needs no synchronisation."""
    every = torch.arange(len(weight), device=weight.device)
    return (every[weight > 0] if weight.device.type == "cpu" else every).split(max(size, 1))


def bank_contrast(
    anchors: Float[Tensor, "anchors dim"],
    valid: Bool[Tensor, " anchors"],
    subclass: Int[Tensor, " anchors"],
    bank: Float[Tensor, "subclasses size dim"],
    written: Bool[Tensor, "subclasses size"],
    temperature: float = 0.1,
    tau_base: float = 2.0,
    same_class: tuple[int, float] | None = None,
) -> Float[Tensor, ""]:
    """Compute `contrast` against a memory bank: written rows of the own subclass are positives, all others negatives.

    The value is the same without the (anchors x bank) masks and graph: a block of logits stays in cache, and the
    gradient is computed in closed form in the same pass. No gradient flows to the bank.

    Args:
        anchors: Unit rows.
        valid: Mask of the valid anchors.
        subclass: First index into the bank, for each anchor.
        bank: Unit rows; unwritten rows must be 0.
        written: Mask of the written rows.
        temperature: Tau, at least 0.02.
        tau_base: The term is scaled by tau / tau_base.
        same_class: Subclasses per class, and the weight in N_i of the other subclasses of the own class; None for 1.
    """
    if same_class is not None and same_class[1] == 1:
        same_class = None
    term = _BankContrast.apply(anchors, valid, subclass, bank, written, temperature, same_class)
    return temperature / tau_base * term


class _BankContrast(torch.autograd.Function):
    """With s_ij = sigmoid(log N_i - l_ij): d(-log p_ij)/da_i = s_ij / tau * (mean of the negatives b_k under
    exp(l_ik) - b_j)."""

    @staticmethod
    def forward(
        ctx: Any,
        anchors: Tensor,
        valid: Tensor,
        subclass: Tensor,
        bank: Tensor,
        written: Tensor,
        tau: float,
        same_class: tuple[int, float] | None,
    ) -> Tensor:
        counts = torch.where(valid, written.sum(1)[subclass], 0)
        weight = _anchor_weights(counts, anchors.dtype)
        loss = anchors.new_zeros(())
        grad = torch.zeros_like(anchors)
        blocks = _blocks(weight, BLOCK)
        buffer = anchors.new_empty(max(map(len, blocks)), bank.shape[0] * bank.shape[1])
        for block in blocks:
            terms, slope = _bank_block(anchors[block], subclass[block], bank, written, tau, buffer, same_class)
            loss = loss + (terms * weight[block]).sum()
            grad[block] = slope * weight[block, None]
        ctx.save_for_backward(grad)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = ctx.saved_tensors
        return grad * grad_loss, None, None, None, None, None, None


def _bank_block(
    anchors: Tensor,
    subclass: Tensor,
    bank: Tensor,
    written: Tensor,
    tau: float,
    buffer: Tensor,
    same_class: tuple[int, float] | None,
) -> tuple[Tensor, Tensor]:
    """Sum over the positives of -log p, and its gradient, for a block of anchors; (anchors,), (anchors, dim)."""
    rows = bank.flatten(0, 1)
    powers = torch.mm(anchors / tau, rows.T, out=buffer[: len(anchors)]).exp_()
    own = torch.arange(len(anchors), device=anchors.device), subclass
    rings = powers.view(len(anchors), *written.shape)
    near = rings[own] if written.shape[1] > LONG else None
    if same_class is not None:
        per_class, factor = same_class
        by_class = powers.view(len(anchors), len(written) // per_class, per_class * written.shape[1])
        by_class[own[0], subclass // per_class] *= factor
    rings[own] = 0
    repulsion = (powers @ written.flatten().to(anchors.dtype)).clamp_min(NOTHING)
    if near is not None:
        gap = repulsion.log()[:, None] - near.log()
        pull = gap.sigmoid() * written[subclass]
        total = pull.sum(1, keepdim=True)
        rings[own] = -pull * (repulsion[:, None] / total.clamp_min(NOTHING))
        return (F.softplus(gap) * written[subclass]).sum(1), (powers @ rows) * (total / repulsion[:, None]) / tau
    pushed = powers @ rows / repulsion[:, None]  # unwritten rows are 0 and add nothing
    friends = bank[subclass]
    gap = repulsion.log()[:, None] - torch.einsum("ad,ajd->aj", anchors, friends) / tau
    pull = gap.sigmoid() * written[subclass]
    slope = pull.sum(1, keepdim=True) * pushed - torch.einsum("aj,ajd->ad", pull, friends)
    return (F.softplus(gap) * written[subclass]).sum(1), slope / tau
