"""Projection of anchors into the clustering space: an MLP, then the unit sphere (METHOD step 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def projection_mlp(in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Build Linear + BatchNorm + ReLU for each width, as in the published weights; the identity without widths."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip([in_channels, *widths], widths, strict=False):
        layers += [nn.Linear(fan_in, fan_out), nn.BatchNorm1d(fan_out), nn.ReLU()]
    return nn.Sequential(*layers)


def project(
    layers: nn.Sequential, rows: Float[Tensor, "rows channels"], valid: Bool[Tensor, " rows"]
) -> Float[Tensor, "rows dim"]:
    """Apply the MLP with batch statistics over the valid rows only."""
    for layer in layers:
        rows = masked_batch_norm(layer, rows, valid) if isinstance(layer, _BatchNorm) else layer(rows)
    return rows


def masked_batch_norm(
    norm: _BatchNorm, rows: Float[Tensor, "rows channels"], valid: Bool[Tensor, " rows"]
) -> Float[Tensor, "rows channels"]:
    """Compute `norm(rows[valid])` at a fixed size. A single row, which BatchNorm refuses, becomes the bias.

    The running statistics are updated as in BatchNorm, but not with fewer than two valid rows.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    if not norm.training:
        scale = (norm.running_var + norm.eps).rsqrt()
        return (rows - norm.running_mean) * scale * norm.weight + norm.bias
    weight = valid[:, None].to(rows.dtype)
    count = weight.sum().clamp_min(1)
    mean = (rows * weight).sum(0) / count
    var = ((rows - mean).square() * weight).sum(0) / count
    with torch.no_grad():
        rate = (norm.momentum or 0.0) * (count > 1)
        norm.running_mean.lerp_(mean, rate)
        norm.running_var.lerp_(var * count / (count - 1).clamp_min(1), rate)
        norm.num_batches_tracked.add_(count > 1)  # type: ignore[union-attr]  # it tracks
    return (rows - mean) * (var + norm.eps).rsqrt() * norm.weight + norm.bias


def unit_rows(
    rows: Float[Tensor, "rows dim"],
) -> tuple[Float[Tensor, "rows dim"], Bool[Tensor, " rows"]]:
    """L2-normalise rows and return a mask of the nonzero ones; zero rows stay 0 with zero gradient."""
    square = rows.square().sum(1, keepdim=True)
    alive = square > 1e-12
    return rows * torch.where(alive, square.clamp_min(1e-12).rsqrt(), 0.0), alive.squeeze(1)
