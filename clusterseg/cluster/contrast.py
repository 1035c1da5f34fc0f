"""The contrastive loss: pull an anchor to its own subclass, push it from all others (METHOD step 4).

For anchor i, with logits l_ij = a_i . b_j / tau against a contrast set,

    -log p_ij = -log( exp(l_ij) / (exp(l_ij) + N_i) ) = softplus(log N_i - l_ij),   N_i = sum over negatives exp(l_ij)

and a term is (tau / tau_base) * the mean over anchors of the mean over an anchor's positives. Rows are unit vectors,
so |l| <= 1/tau and exp needs no maximum taken off. N_i sums the negatives themselves: total minus positives
would cancel. Anchors without positives do not enter the mean; a term without any is 0 with zero gradient. Negatives may
have weights: other subclasses of the own class may repel less than other classes, or not at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise, starmap
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

MIN_TEMPERATURE = 0.02  # exp(1 / 0.02) summed over a whole bank is still a float32
NOTHING = 1e-30  # replaces N_i = 0 for an anchor without negatives
BLOCK = 128  # anchors per block of a general contrast, so that the logits stay in cache
TILE = 200  # rows of the bank per tile against all anchors on a CPU, for the same reason


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
        weight = _anchor_weights(positives.sum(1, dtype=torch.int32), anchors.dtype)  # int64 would be 8 bytes a pair
        loss = anchors.new_zeros(())
        grad_anchors, grad_others = torch.zeros_like(anchors), torch.zeros_like(others)
        for block in _blocks(weight, BLOCK if anchors.device.type == "cpu" else len(anchors)):
            near = _span(positives[block])
            pull_pairs, push_pairs = positives[block, near], negatives[block]
            powers = (anchors[block] / tau) @ others.T
            logits = powers[:, near].clone()
            powers.exp_()
            powers = powers.masked_fill_(~push_pairs, 0) if push_pairs.dtype == torch.bool else powers.mul_(push_pairs)
            repulsion = powers.sum(1, keepdim=True).clamp_min_(NOTHING)
            gap = logits.neg_().add_(repulsion.log())
            terms = F.softplus(gap).masked_fill_(~pull_pairs, 0).sum(1)
            loss = loss + (terms * weight[block]).sum()
            pull = gap.sigmoid_().masked_fill_(~pull_pairs, 0).mul_(weight[block, None] / tau)
            slope = powers.mul_(pull.sum(1, keepdim=True) / repulsion)
            slope[:, near] -= pull
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


def _span(positives: Bool[Tensor, "anchors others"]) -> slice:
    """Where the positives of a block are: anchors lie by class, so a few columns. All where this would synchronise."""
    if positives.device.type != "cpu":
        return slice(0, positives.shape[1])
    columns = positives.any(0).nonzero()
    return slice(int(columns[0]), int(columns[-1]) + 1) if len(columns) else slice(0, 0)


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
        for block, tiles in _bank_blocks(weight, subclass, *written.shape):
            terms, slope = _bank_block(anchors[block], subclass[block], bank, written, tau, tiles, same_class)
            loss = loss + (terms * weight[block]).sum()
            grad[block] = slope * weight[block, None]
        ctx.save_for_backward(grad)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = ctx.saved_tensors
        return grad * grad_loss, None, None, None, None, None, None


class _Tile(NamedTuple):
    """Some rings of the bank, and where in a block of anchors those of its subclasses are."""

    rings: slice
    own: slice


def _bank_blocks(
    weight: Float[Tensor, " anchors"], subclass: Int[Tensor, " anchors"], subclasses: int, size: int
) -> Iterator[tuple[Tensor, list[_Tile]]]:
    """Yield blocks of anchors, and the tiles of the bank with which each is compared.

    On a CPU all anchors, by subclass, against `TILE` rows at a time. Elsewhere blocks of anchors against the whole
    bank: where a subclass begins is not known there without a synchronisation.
    """
    if weight.device.type != "cpu":
        for block in _blocks(weight, BLOCK):
            yield block, [_Tile(slice(0, subclasses), slice(0, len(block)))]
        return
    order = subclass.argsort(stable=True)
    order = order[weight[order] > 0]
    edges = [*range(0, subclasses, max(TILE // size, 1)), subclasses]
    places = torch.searchsorted(subclass[order], torch.tensor(edges)).tolist()
    yield order, list(map(_Tile, starmap(slice, pairwise(edges)), starmap(slice, pairwise(places))))


def _bank_block(
    anchors: Tensor,
    subclass: Tensor,
    bank: Tensor,
    written: Tensor,
    tau: float,
    tiles: list[_Tile],
    same_class: tuple[int, float] | None,
) -> tuple[Tensor, Tensor]:
    """Sum over the positives of -log p, and its gradient, for a block of anchors; (anchors,), (anchors, dim)."""
    size = written.shape[1]
    scaled, there = anchors / tau, written.to(anchors.dtype)
    near, pushed, pulled = anchors.new_zeros(len(anchors), size), torch.zeros_like(anchors), torch.zeros_like(anchors)
    repulsion = anchors.new_zeros(len(anchors))
    buffer = anchors.new_empty(len(anchors) * max(tile.rings.stop - tile.rings.start for tile in tiles) * size)
    rows = [bank[tile.rings].flatten(0, 1) for tile in tiles]
    own_rings = [_own_rings(subclass, tile) for tile in tiles]
    for tile, vectors, own in zip(tiles, rows, own_rings, strict=True):
        shape = len(anchors), len(vectors) // size, size
        rings = buffer[: math.prod(shape)].view(shape)
        powers = torch.mm(scaled, vectors.T, out=rings.flatten(1))
        near[tile.own] = rings[own]
        powers.exp_()
        if same_class is not None:
            per_class, factor = same_class
            classes = torch.arange(tile.rings.start, tile.rings.stop, device=anchors.device) // per_class
            relatives = subclass[:, None] // per_class == classes
            rings *= torch.where(relatives, factor, 1.0).to(anchors.dtype)[..., None]
        rings[own] = 0
        repulsion.addmv_(powers, there[tile.rings].flatten())
        pushed.addmm_(powers, vectors)  # unwritten rows are 0 and add nothing
    repulsion.clamp_min_(NOTHING)
    gap = repulsion.log()[:, None] - near
    pull = gap.sigmoid() * written[subclass]
    for tile, vectors, (places, ring) in zip(tiles, rows, own_rings, strict=True):
        chosen = anchors.new_zeros(len(ring), len(vectors) // size, size)
        chosen[places - tile.own.start, ring] = pull[tile.own]
        pulled[tile.own] = chosen.flatten(1) @ vectors
    slope = (pull.sum(1) / repulsion)[:, None] * pushed - pulled
    return (F.softplus(gap) * written[subclass]).sum(1), slope / tau


def _own_rings(subclass: Int[Tensor, " anchors"], tile: _Tile) -> tuple[Tensor, Tensor]:
    """Index, in (anchors, rings of the tile), the rings of the tile's own anchors."""
    return torch.arange(tile.own.start, tile.own.stop, device=subclass.device), subclass[tile.own] - tile.rings.start
