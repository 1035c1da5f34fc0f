"""Infer the settings of a network from the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from clusterseg.backbone.foreign.project import CLASSIFIER
from clusterseg.backbone.widths import BLOCKS, CHANNELS

#: Width multipliers that the projects publish.
PUBLISHED = (0.5, 0.64, 1.0, 1.6)


def settings_of(weights: Mapping[str, Tensor], idle_branch: bool) -> str:
    """Infer the network and its `model.backbone` settings from the shapes of weights.

    Args:
        weights: By the names of mit-han-lab/spvnas.
        idle_branch: Whether a MinkUNet may hold the point branch.
    """
    branched = "SPVCNN or MinkUNet" if idle_branch else "SPVCNN"
    network = branched if any(name.startswith("point_transforms.") for name in weights) else "MinkUNet"
    found = {"cr": _cr(weights), "depth": _depth(weights), "classifier": _classifier(weights)}
    return " ".join([network, *(f"{key}={value}" for key, value in found.items() if value is not None)])


def channels(weights: Mapping[str, Tensor], name: str) -> int:
    """Number of elements of a tensor, such as the weight of a normalisation; 0 if it is missing."""
    return weights[name].numel() if name in weights else 0


def reads_levels(weights: Mapping[str, Tensor]) -> bool:
    """Whether the classifier has more inputs than the last level has channels."""
    weight, last = weights.get(CLASSIFIER[0]), channels(weights, "up4.1.0.net.1.weight")
    return weight is not None and weight.dim() == 2 and weight.shape[1] > last > 0


def _cr(weights: Mapping[str, Tensor]) -> float | None:
    stem, deepest = channels(weights, "stem.1.weight"), channels(weights, "stage4.1.net.1.weight")
    fitting = [cr for cr in PUBLISHED if (int(cr * CHANNELS[0]), int(cr * CHANNELS[4])) == (stem, deepest)]
    return fitting[0] if fitting else None


def _depth(weights: Mapping[str, Tensor]) -> int | None:
    blocks = tuple(
        len({name.split(".")[1] for name in weights if name.startswith(f"stage{i}.")}) - 1 for i in range(1, 5)
    )
    return next((depth for depth, known in BLOCKS.items() if known == blocks), None)


def _classifier(weights: Mapping[str, Tensor]) -> str | None:
    return ("levels" if reads_levels(weights) else "last") if CLASSIFIER[0] in weights else None
