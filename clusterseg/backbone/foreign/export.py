"""Export weights to the file formats of other projects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from clusterseg.backbone.foreign.project import CLASSIFIER, Project
from clusterseg.backbone.foreign.recognise import PROJECTS
from clusterseg.backbone.minkunet import MinkUNet
from clusterseg.backbone.output import Backbone
from clusterseg.backbone.published import published_layout, published_state
from clusterseg.backbone.spvcnn import SPVCNN
from clusterseg.backbone.spvnas import SPVNAS
from clusterseg.errors import UserError

#: Logit of a class that is never predicted; representable in half precision.
NEVER = -1e4


def foreign_state(backbone: Backbone, form: str, proj: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return the state dict from which a project loads a network, without the wrapper of its files.

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
    """Return the content of a project's file."""
    return state if project.wrapper is None else {project.wrapper: state}


def _require_home(backbone: Backbone, form: str) -> None:
    """Refuse a network that the project does not support. Custom networks are exported under their own names."""
    if isinstance(backbone, MinkUNet | SPVNAS):
        kind = next(known.__name__ for known in (MinkUNet, SPVCNN, SPVNAS) if isinstance(backbone, known))
        reads, depth = "levels" if backbone.reads_levels else "last", getattr(backbone, "depth", None)
        homes = [name for name, project in PROJECTS.items() if (kind, reads, depth) in project.networks]
        settings = f"depth={depth}, classifier={reads}" if depth else f"classifier={reads}"
    else:
        kind, settings, homes = type(backbone).__name__, "layers of its own", ["torchsparse"]
    if form not in homes:
        raise UserError(
            f"format={form}: {PROJECTS[form].title} has no {kind} with {settings}; expected a format that has: "
            f"{', '.join(homes) or 'none does'}"
        )


def _with_unlabeled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the classifier with an additional first row for the ignored class, which is never predicted."""
    weight, bias = (state[name] for name in CLASSIFIER)
    grown = (torch.cat([weight.new_zeros(1, weight.shape[1]), weight]), torch.cat([bias.new_full((1,), NEVER), bias]))
    return state | dict(zip(CLASSIFIER, grown, strict=True))
