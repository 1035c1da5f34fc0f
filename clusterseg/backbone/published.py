"""Names and shapes of published state dicts of the original code with TorchSparse 0.x to 2.x."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from clusterseg.backbone.minkunet import MinkUNet
from clusterseg.backbone.output import Backbone
from clusterseg.backbone.spvcnn import SPVCNN
from clusterseg.backbone.spvnas import point_branch
from clusterseg.backbone.widths import fixed_widths

#: Inputs of the classifier in the original SPVNAS, whatever the network searched: it uses the first columns only.
SUPERNET_WIDTH = 128
CLASSIFIER = "classifier.linear.weight"

#: Place of a layer in the original's nameless sequences.
_PLACE = {"conv": 0, "bn": 1}


@dataclass(frozen=True)
class PublishedLayout:
    """Names and shapes of a published state dict, in its order.

    Attributes:
        names: Our name of each tensor that the network uses, by its published name.
        shapes: Shape of every tensor, by its published name.
        unused: Published names of tensors that the original holds and never uses, with their values.
    """

    names: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    unused: Mapping[str, Tensor] = field(default_factory=dict)


def published_layout(backbone: Backbone) -> PublishedLayout:
    """The layout of the published weights of a backbone; one of another kind is published under its own names."""
    state = backbone.state_dict()
    fixed = isinstance(backbone, SPVCNN | MinkUNet)
    names = {staged_name(name) if fixed else name: name for name in state}
    shapes = {name: tuple(state[own].shape) for name, own in names.items()}
    if not fixed and CLASSIFIER in shapes:
        classes, channels = shapes[CLASSIFIER]
        shapes[CLASSIFIER] = (classes, max(channels, SUPERNET_WIDTH))
    unused = _point_branch(backbone) if isinstance(backbone, MinkUNet) else {}
    return PublishedLayout(names, shapes | {name: tuple(value.shape) for name, value in unused.items()}, unused)


def _point_branch(network: MinkUNet) -> dict[str, Tensor]:
    """The point branch that the original MinkUNet holds beside its U-Net and never calls."""
    branch = point_branch(fixed_widths(network.cr)).state_dict()
    fresh = {name: torch.ones_like(v) if name.endswith("running_var") else v * 0 for name, v in branch.items()}
    return {staged_name(f"point_transforms.{name}"): value for name, value in fresh.items()}


def staged_name(name: str) -> str:
    """The name of one of our tensors in the original SPVCNN and MinkUNet."""
    match name.split("."):
        case ["downsample", i, "transition", "net", layer, leaf]:
            return f"stage{int(i) + 1}.0.net.{_PLACE[layer]}.{leaf}"
        case ["downsample", i, "feature", j, *block]:
            return f"stage{int(i) + 1}.{int(j) + 1}.{_in_block(block)}"
        case ["upsample", i, "transition", "net", layer, leaf]:
            return f"up{int(i) + 1}.0.net.{_PLACE[layer]}.{leaf}"
        case ["upsample", i, "feature", j, *block]:
            return f"up{int(i) + 1}.1.{j}.{_in_block(block)}"
        case ["point_transforms", i, "net", layer, leaf]:
            return f"point_transforms.{i}.{_PLACE[layer]}.{leaf}"
        case ["classifier", "linear", leaf]:
            return f"classifier.0.{leaf}"
    return name


def _in_block(parts: list[str]) -> str:
    """The name inside a residual block, whose two halves are one sequence conv, bn, relu, conv, bn in the original."""
    if parts[0] == "downsample":
        _, _, layer, leaf = parts
        return f"downsample.{_PLACE[layer]}.{leaf}"
    _, half, _, layer, leaf = parts
    return f"net.{3 * int(half) + _PLACE[layer]}.{leaf}"


def published_state(backbone: Backbone, proj: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return the state dict from which the original code loads a network.

    Columns and tensors that the original holds and never uses are zero, its unused variances one.

    Args:
        backbone: The network.
        proj: State dict of the cluster head's projection, which the method's first release stores as `proj.`.
    """
    layout, state = published_layout(backbone), backbone.state_dict()
    published = {}
    for name, own in layout.names.items():
        published[name] = state[own].new_zeros(layout.shapes[name])
        published[name][tuple(slice(size) for size in state[own].shape)] = state[own]
    unused = {name: value.clone() for name, value in layout.unused.items()}
    return published | unused | {f"proj.{name}": value.clone() for name, value in (proj or {}).items()}
