"""Recognise the project of a weights file by its tensor names, and rename the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from clusterseg.backbone.foreign.mit_han_lab import MIT_HAN_LAB
from clusterseg.backbone.foreign.mmdetection3d import MMDETECTION3D, of_another_engine
from clusterseg.backbone.foreign.openpcseg import OPENPCSEG, is_openpcseg
from clusterseg.backbone.foreign.project import CLASSIFIER, Project
from clusterseg.backbone.foreign.settings import settings_of
from clusterseg.backbone.foreign.torch_pointcloud import TORCH_POINTCLOUD
from clusterseg.errors import UserError

#: Projects by their name in `clusterseg export format=`.
PROJECTS = {
    "torchsparse": MIT_HAN_LAB,
    "mmdetection3d": MMDETECTION3D,
    "openpcseg": OPENPCSEG,
    "torch-pointcloud": TORCH_POINTCLOUD,
}


@dataclass(frozen=True)
class Weights:
    """Weights of a file.

    Attributes:
        kind: Description of the file.
        tensors: Tensors by our names or those of mit-han-lab/spvnas, with our classes.
        idle_branch: Whether a point branch may belong to a MinkUNet, which does not use it.
        class_names: Names of its classes by train id, where the file has them.
    """

    kind: str
    tensors: dict[str, Tensor]
    idle_branch: bool = True
    class_names: tuple[str, ...] | None = None


def recognised(weights: Mapping[str, Tensor], wrapper: str | None, path: object) -> Weights | None:
    """Rename weights of another project to the names of mit-han-lab/spvnas; None if the project is unknown.

    Args:
        weights: Tensors by the names in the file.
        wrapper: Entry of the file that they come from, or None.
        path: The file, for messages.

    Raises:
        UserError: They are mmdetection3d's for an engine that stores kernels differently.
    """
    if of_another_engine(weights):
        raise UserError(
            f"model.init_from={path} is a checkpoint of mmdetection3d for spconv or MinkowskiEngine, which keep "
            "kernels in other ways; expected one for torchsparse. Take a file of a config with torchsparse in its name"
        )
    for project in (MIT_HAN_LAB, MMDETECTION3D, TORCH_POINTCLOUD):
        before = project.wrapped_in(weights)
        if before is not None:
            known = {project.to_original(name.removeprefix(before)): value for name, value in weights.items()}
            return _of(OPENPCSEG if project is MIT_HAN_LAB and is_openpcseg(known, wrapper) else project, known)
    return None


def _of(project: Project, weights: dict[str, Tensor]) -> Weights:
    if project.unlabeled_first:
        weights |= {name: weights[name][1:] for name in CLASSIFIER if name in weights}
    cut = " without its class unlabeled" if project.unlabeled_first else ""
    settings = settings_of(weights, project.idle_branch)
    return Weights(f"a checkpoint of {project.title}{cut}, {settings}", weights, project.idle_branch)
