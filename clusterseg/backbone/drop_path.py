"""Stochastic depth: residual branches are left out at random in training."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from clusterseg.errors import UserError
from clusterseg.sparse import SparseTensor

Rate = Annotated[float, Field(ge=0, lt=1)]


def branch_factors(scans: int, rate: float, device: torch.device) -> Float[Tensor, " scans"]:
    """Draw the factor on the branch of each scan: 0 with probability `rate`, else 1 / (1 - rate), so 1 on average.

    A factor of 0 leaves gradients of 0 and not none: data parallelism finds every parameter used.
    """
    kept = torch.rand(scans, device=device) >= rate
    return kept.float() / (1 - rate)


class DropPath(nn.Module):
    """Drops a residual branch for whole scans in training; the identity in evaluation and at rate 0.

    Huang et al., "Deep Networks with Stochastic Depth" (ECCV 2016), with the branch scaled in training and not in
    evaluation. Numbers come from PyTorch's generator of the device, whose state a checkpoint holds.

    Args:
        rate: Probability that the branch of a scan is dropped.

    Raises:
        UserError: The rate is not in 0..1, 1 excluded.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise UserError(f"model.backbone.drop_path={rate}: expected a number of at least 0 and below 1")
        self.rate = rate

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Scale the features of each scan by its factor, in place."""
        if not self.training or self.rate == 0:
            return x
        scan = x.grid.scans(x.stride)
        factors = branch_factors(int(scan[-1]) + 1, self.rate, x.feats.device)
        return x.map(lambda feats: feats.mul_(factors.to(feats.dtype)[scan, None]))


def spread_rates(layers: list[DropPath], last: float) -> None:
    """Let the rates rise linearly with depth to that of the last block, as the paper does (its equation 4)."""
    for depth, layer in enumerate(layers, start=1):
        layer.rate = DropPath(last * depth / len(layers)).rate
