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

    Examples:
        >>> import torch
        >>> output = BackboneOutput(torch.zeros(5, 19), {"decoder": torch.zeros(5, 96)})
        >>> output.logits.argmax(1).shape
        torch.Size([5])
    """

    logits: Float[Tensor, "voxels classes"]
    taps: Mapping[str, Tensor]


class Backbone(nn.Module):
    """A network from voxels to :class:`BackboneOutput`.

    Attributes:
        tap_channels: Channels of each tap, by name.
        num_classes: Channels of the logits.

    Examples:
        >>> import torch
        >>> class Linear(Backbone):
        ...     def __init__(self, in_channels: int, num_classes: int) -> None:
        ...         super().__init__()
        ...         self.num_classes, self.tap_channels = num_classes, {"decoder": in_channels}
        ...         self.classifier = nn.Linear(in_channels, num_classes)
        ...
        ...     def forward(self, feats, coords):
        ...         return BackboneOutput(self.classifier(feats), {"decoder": feats})
        >>> network = Linear(in_channels=4, num_classes=19)
        >>> network(torch.rand(5, 4), torch.zeros(5, 4, dtype=torch.int32)).logits.shape
        torch.Size([5, 19])
    """

    tap_channels: Mapping[str, int]
    num_classes: int

    def forward(self, feats: Tensor, coords: Tensor) -> BackboneOutput:
        """Predict from feats (voxels, in_channels) float and coords (voxels, 4) int: batch, x, y, z."""
        raise NotImplementedError
