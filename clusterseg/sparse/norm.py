"""Batch normalisation over the voxels of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm over all voxels (or points) of the batch, (rows, channels).

    A single row has no variance; in training it is normalised by the running statistics, which stay as they are.
    """

    def forward(self, feats: Tensor) -> Tensor:
        """Normalise (rows, channels); without gradients the evaluation mode writes over its input."""
        if not self.training and not torch.is_grad_enabled():
            mean, var = self.get_buffer("running_mean"), self.get_buffer("running_var")
            scale = self.weight * (var + self.eps).rsqrt()
            return torch.addcmul(self.bias - mean * scale, feats, scale, out=feats)
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
