"""The interface of a head: further losses of the training, from features, labels and predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from clusterseg.errors import UserError


@dataclass(frozen=True)
class HeadOutput:
    """The result of one step of a head.

    Examples:
        >>> import torch
        >>> output = HeadOutput({"pull": torch.tensor(0.5)}, {"distance": torch.tensor(2.0)})
        >>> list(output.losses), list(output.stats)
        (['pull'], ['distance'])
    """

    losses: Mapping[str, Tensor]
    """Weighted terms by name, ready to be added to the total loss."""
    stats: Mapping[str, Tensor] = field(default_factory=dict)
    """Detached scalars for logging, as `cluster/<name>`."""


class Head(nn.Module):
    """Base class of heads; it is used in training only and has no part in prediction.

    `forward(features, labels, predictions)` returns the weighted losses by name, or a `HeadOutput`: features (voxels,
    channels) are those of the network's tap, labels (voxels,) class ids with 255 to ignore, predictions (voxels,) the
    network's present class ids. The constructor takes `in_channels=` and `class_names=`, and its settings.

    Attributes:
        tap: Name of the network's features that the head reads; a setting of that name says which.
        asks: Further inputs, which `forward` gets as keyword arguments (voxels, ...): `scans` the scan within the
            batch, `xyz` in metres after augmentation, `things` a number of the instance that is unique in the data set
            (0: none), `modes` its known subclass within the class (-1: none), `other` the features of the same points
            in a second augmentation of the scans, which costs a second forward pass.

    Examples:
        >>> import torch
        >>> class Small(Head):
        ...     def __init__(self, in_channels, class_names, tap="decoder", weight=0.01):
        ...         super().__init__()
        ...         self.tap, self.weight = tap, weight
        ...
        ...     def forward(self, features, labels, predictions):
        ...         return {"small": self.weight * features[labels != 255].square().mean()}
        >>> head = Small(8, ["car", "road"])
        >>> head(torch.ones(3, 8), torch.tensor([0, 1, 255]), torch.tensor([0, 0, 0]))
        {'small': tensor(0.0100)}
    """

    tap: str = ""
    asks: frozenset[str] = frozenset()

    def same_on_all_ranks(self) -> list[str]:
        """Return the names of buffers that every rank computes alike, so that DDP need not send them."""
        return []


def as_output(head: nn.Module, result: Any) -> HeadOutput:
    """Return the result of a head as a `HeadOutput`.

    Raises:
        UserError: It is something else, or a loss is not one number.
    """
    losses = result.losses if isinstance(result, HeadOutput) else result
    if not isinstance(losses, Mapping):
        raise UserError(
            f"{type(head).__name__}.forward returned a {type(losses).__name__}; expected its losses by name, as "
            '{"NAME": loss}, or a clusterseg.HeadOutput'
        )
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            found = f"of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise UserError(f"{type(head).__name__}: its loss {name} is {found}; expected a tensor of one number")
    return result if isinstance(result, HeadOutput) else HeadOutput(losses)
