"""The output of every backbone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class BackboneOutput:
    """Predictions and features of the voxels of a batch, in the order of the voxels given.

    Attributes:
        logits: (voxels, classes).
        taps: Features by name, (voxels, channels) each: `bottleneck` after the deepest encoder stage, `decoder`
            before the classifier.
    """

    logits: Float[Tensor, "voxels classes"]
    taps: Mapping[str, Tensor]


class Backbone(nn.Module):
    """A network from voxels to :class:`BackboneOutput`.

    Attributes:
        tap_channels: Channels of each tap, by name.
        num_classes: Channels of the logits.
    """

    tap_channels: Mapping[str, int]
    num_classes: int

    def forward(self, feats: Tensor, coords: Tensor) -> BackboneOutput:
        """Predict from feats (voxels, in_channels) float and coords (voxels, 4) int: batch, x, y, z."""
        raise NotImplementedError
