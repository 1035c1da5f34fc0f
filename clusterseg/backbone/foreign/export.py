"""Weights of our networks in the files of other projects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clusterseg.backbone.foreign.project import CLASSIFIER, Project
from clusterseg.backbone.foreign.recognise import PROJECTS
from clusterseg.backbone.output import Backbone
from clusterseg.backbone.published import published_layout, published_state
from clusterseg.backbone.unet import SparseUNet
from clusterseg.errors import UserError

#: Logit of a class that is never predicted; half precision holds it.
NEVER = -1e4


def foreign_state(backbone: Backbone, form: str, proj: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The state dict under which a project loads a network, without the wrapper of its files.

    Args:
        backbone: The network.
        form: A key of `PROJECTS`.
        proj: State dict of the cluster head's projection, which `torchsparse` alone has a place for.

    Raises:
        UserError: The project has no such network.
    """
    project = PROJECTS[form]
    _require_home(backbone, form)
    if form == "torchsparse":
        return published_state(backbone, proj)
    own = backbone.state_dict()
    state = {project.from_original(name): own[ours].clone() for name, ours in published_layout(backbone).names.items()}
    return _with_unlabeled(state) if project.unlabeled_first else state


def wrapped(state: dict[str, Tensor], project: Project) -> dict[str, Any]:
    """The content of a project's file."""
    return state if project.wrapper is None else {project.wrapper: state}


def _require_home(backbone: Backbone, form: str) -> None:
    """Refuse a network that the project has no code for. Networks of one's own go out under their own names."""
    if not isinstance(backbone, SparseUNet):
        if form == "torchsparse":
            return
        raise UserError(f"format={form}: it has no network {type(backbone).__name__}; set format=torchsparse")
    reads = "levels" if backbone.reads_levels else "last"
    network = (type(backbone).__name__, reads, getattr(backbone, "depth", None))
    homes = [name for name, project in PROJECTS.items() if network in project.networks]
    if form not in homes:
        settings = f"depth={network[2]}, classifier={reads}" if network[2] else f"classifier={reads}"
        raise UserError(
            f"format={form}: {PROJECTS[form].title} has no {network[0]} with {settings}; expected a format that "
            f"has: {', '.join(homes) or 'none does'}"
        )


def _with_unlabeled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The classifier with a first row for the class that is ignored, which no voxel is given."""
    weight, bias = (state[name] for name in CLASSIFIER)
    grown = (torch.cat([weight.new_zeros(1, weight.shape[1]), weight]), torch.cat([bias.new_full((1,), NEVER), bias]))
    return state | dict(zip(CLASSIFIER, grown, strict=True))
