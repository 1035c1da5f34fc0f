"""Batch normalisation over the voxels of a batch, or of the batches of all ranks together."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules._functions import SyncBatchNorm as FusedSyncBatchNorm

from clusterseg.sparse.norm_relu import NormReLU


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm over all voxels (or points) of the batch, (rows, channels).

    A single row has no variance; in training it is normalised by the running statistics, which stay as they are.

    Attributes:
        synced: Whether training takes the statistics over the rows of all ranks, as `nn.SyncBatchNorm` does, which
            runs on GPUs only; this one runs anywhere.
    """

    synced = False

    def forward(self, feats: Tensor, relu: bool = False) -> Tensor:
        """Normalise (rows, channels), with a ReLU behind it on demand.

        Without gradients the evaluation mode writes over its input.
        """
        if relu and self._lean(feats):
            running = self.get_buffer("running_mean"), self.get_buffer("running_var")
            self.get_buffer("num_batches_tracked").add_(1)
            fused: Tensor = NormReLU.apply(feats, self.weight, self.bias, *running, self.eps, self.momentum or 0.0)
            return fused
        normalised = self._normalised(feats)
        return normalised.relu_() if relu else normalised

    def _lean(self, feats: Tensor) -> bool:
        """Whether `NormReLU` may take it, which keeps one tensor instead of two for the backward pass."""
        alone = not (self.synced and dist.is_initialized() and dist.get_world_size() > 1)
        plain = feats.device.type == "cpu" and feats.dtype == self.weight.dtype in (torch.float32, torch.float64)
        return alone and plain and self.training and torch.is_grad_enabled() and len(feats) > 1

    def _normalised(self, feats: Tensor) -> Tensor:
        if self.foldable:
            scale, shift = (values.to(feats.dtype) for values in self.scale_and_shift())
            return torch.addcmul(shift, feats, scale, out=feats)
        if self.training and self.synced and dist.is_initialized() and dist.get_world_size() > 1:
            return self._over_ranks(feats)
        if self.training and feats.shape[0] == 1:
            return F.batch_norm(
                feats,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=False,
                eps=self.eps,
            )
        return super().forward(feats)

    @property
    def foldable(self) -> bool:
        """Whether it is currently a fixed scale and shift: in evaluation mode, without gradients."""
        return not self.training and not torch.is_grad_enabled()

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Return scale and shift (channels,) of the evaluation mode: norm(x) = x * scale + shift."""
        mean, var = self.get_buffer("running_mean"), self.get_buffer("running_var")
        scale = self.weight * (var + self.eps).rsqrt()
        return scale, self.bias - mean * scale

    def _over_ranks(self, feats: Tensor) -> Tensor:
        running = self.get_buffer("running_mean"), self.get_buffer("running_var")
        self.get_buffer("num_batches_tracked").add_(1)
        momentum = self.momentum or 0.0
        if feats.is_cuda:
            fused: Tensor = FusedSyncBatchNorm.apply(
                feats.contiguous(),
                self.weight,
                self.bias,
                *running,
                self.eps,
                momentum,
                dist.group.WORLD,
                dist.get_world_size(),
            )
            return fused
        normalised: Tensor = _JointNorm.apply(feats, self.weight, self.bias, *running, self.eps, momentum)
        return normalised


class _JointNorm(torch.autograd.Function):
    """Batch normalisation by the mean and the variance of all ranks' rows, each rank with one row or more."""

    @staticmethod
    def forward(
        ctx: Any,
        feats: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        eps: float,
        momentum: float,
    ) -> Tensor:
        rows = feats.to(weight.dtype)
        var, mean = torch.var_mean(rows, 0, correction=0)
        own = torch.stack([torch.full_like(mean, len(rows)), mean, var])
        parts = own.new_empty((dist.get_world_size(), *own.shape))
        dist.all_gather(list(parts.unbind(0)), own)
        counts, means, variances = parts.unbind(1)
        count = counts.sum(0)
        share = counts / count
        mean = (share * means).sum(0)
        var = (share * (variances + (means - mean).square())).sum(0)
        running_mean.lerp_(mean, momentum)
        running_var.lerp_(var * count / (count - 1), momentum)
        scale = weight * (var + eps).rsqrt()
        ctx.save_for_backward(feats, weight, mean, (var + eps).rsqrt(), count)
        return torch.addcmul(bias - mean * scale, rows, scale).to(feats.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        feats, weight, mean, inverse_std, count = ctx.saved_tensors
        grad = grad.to(weight.dtype)
        normalised = (feats.to(weight.dtype) - mean).mul_(inverse_std)
        own = torch.stack([grad.sum(0), (grad * normalised).sum(0)])
        joint = own.clone()
        dist.all_reduce(joint)
        level, slope = joint / count
        grad_feats = (grad - torch.addcmul(level, normalised, slope)).mul_(weight * inverse_std)
        return grad_feats.to(feats.dtype), own[1], own[0], None, None, None, None
