"""Load pretrained weights into a network: `model.init_from=FILE`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from clusterseg.backbone.foreign import PROJECTS
from clusterseg.backbone.output import Backbone
from clusterseg.backbone.published import CLASSIFIER, SUPERNET_WIDTH, published_layout
from clusterseg.backbone.weights_file import read_weights
from clusterseg.errors import UserError

#: Names shown in a message before the rest is counted.
SHOWN = 8


@dataclass(frozen=True)
class LoadReport:
    """Result of loading a file into a network, by tensor name.

    Attributes:
        matched: Loaded.
        missing: In the network, not in the file.
        unexpected: In the file, not in the network.
        unused: In the file and known: unused weights of the original, or a projection without a cluster head.
        kind: Description of the file.
        other_classes: In both with different numbers of classes, and therefore left at their initial values.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    unused: tuple[str, ...]
    kind: str = "a state dict"
    other_classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [self.kind, f"{len(self.matched)} tensors matched"]
        for kind in ("missing", "unexpected", "unused"):
            names = getattr(self, kind)
            parts.append(f"{len(names)} {kind}{': ' + shown(names) if names else ''}")
        if self.other_classes:
            parts.append(f"not loaded, for it has other classes, and so trained anew: {shown(self.other_classes)}")
        return "; ".join(parts)


def load_pretrained(
    path: str | Path,
    backbone: Backbone,
    proj: nn.Module | None = None,
    strict: bool = True,
    class_names: Sequence[str] | None = None,
) -> LoadReport:
    """Load the weights of `path`: into the backbone, and into the cluster head's projection if both have one.

    Names may be ours, those of the original SPVNAS, SPVCNN and MinkUNet code, or those of another project, see
    :mod:`clusterseg.backbone.foreign`. Nothing is changed unless all fits.

    Args:
        path: A file that :func:`clusterseg.backbone.weights_file.read_weights` reads.
        backbone: The network to fill.
        proj: The projection to fill, or None; a file without one leaves it as it is.
        strict: Refuse a file that lacks a tensor of the backbone, or has one that the backbone does not know.
        class_names: Names of the classes of the backbone; where the file names others, its classifier is for those.

    Raises:
        UserError: The file cannot be read, nothing in it matches, shapes differ, or names do while `strict`.
    """
    weights = read_weights(path)
    layout = published_layout(backbone)
    targets = dict(backbone.state_dict(keep_vars=True))
    if proj is not None:
        targets |= {f"proj.{name}": value for name, value in proj.state_dict(keep_vars=True).items()}
    found: dict[str, Tensor] = {}
    unexpected: list[str] = []
    unused: list[str] = []
    for given, value in weights.tensors.items():
        name = _known_name(given, layout.names, targets)
        if name is not None:
            found[name] = _fitted(name, value, targets[name])
        else:
            known = (weights.idle_branch and given in layout.unused) or given.startswith("proj.")
            (unused if known else unexpected).append(given)
    missing = [name for name in targets if name not in found]
    classifier = _other_classes(found, targets, backbone.num_classes)
    theirs, ours = weights.class_names or (), tuple(class_names or ())
    if found and theirs != ours and len(theirs) == len(ours):
        classifier = tuple(name for name in found if name.startswith("classifier."))
        if strict:
            raise _other_names(path, theirs, ours)
    if not strict:
        found = {name: value for name, value in found.items() if name not in classifier}
    left_out = () if strict else classifier
    report = LoadReport(tuple(found), tuple(missing), tuple(unexpected), tuple(unused), weights.kind, left_out)
    _refuse(path, report, found, targets, strict, classifier if strict else ())
    with torch.no_grad():
        for name, value in found.items():
            targets[name].copy_(value)
    return report


def _known_name(given: str, published: Mapping[str, str], targets: Mapping[str, Tensor]) -> str | None:
    """Our name of a tensor: given as it is, as published, or as TorchSparse 0.x and DynamicBatchNorm wrap BatchNorm."""
    stem, _, leaf = given.rpartition(".")
    for name in (given, f"{stem.removesuffix('.bn')}.{leaf}"):
        if (name := published.get(name, name)) in targets:
            return name
    return None


def _fitted(name: str, value: Tensor, target: Tensor) -> Tensor:
    """A 1x1x1 kernel without its first axis; the columns of the original classifier that it uses."""
    if name.endswith("kernel") and target.dim() == 2 and value.dim() == 3 and value.shape[0] == 1:
        return value[0]
    if name == CLASSIFIER and value.dim() == 2 and value.shape[1] == SUPERNET_WIDTH > target.shape[1]:
        return value[:, : target.shape[1]]
    return value


def _other_classes(found: Mapping[str, Tensor], targets: Mapping[str, Tensor], num_classes: int) -> tuple[str, ...]:
    """A classifier's tensors for another number of classes: they differ in their first axis only, the classes."""
    other = {
        name: len(value)
        for name, value in found.items()
        if value.shape != targets[name].shape
        and value.shape[1:] == targets[name].shape[1:]
        and targets[name].shape[:1] == (num_classes,)
    }
    return tuple(other) if len(set(other.values())) == 1 else ()


def _other_names(path: str | Path, theirs: tuple[str, ...], ours: tuple[str, ...]) -> UserError:
    """The refusal of as many classes under other names, or in another order."""
    pairs = [f"{a} is {b} here" for a, b in zip(theirs, ours, strict=True) if a != b]
    return UserError(
        f"model.init_from={path} is for other classes than this data: {shown(pairs)}. Take the label map that it was "
        "trained with (data.label_map), or load all but the classifier: model.init_strict=false"
    )


def _refuse(
    path: str | Path,
    report: LoadReport,
    found: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    strict: bool,
    classifier: Sequence[str],
) -> None:
    where = f"model.init_from={path} ({report.kind})"
    if not report.matched:
        raise UserError(
            f"{where}: nothing in it matches this network. It holds {shown(report.unexpected + report.unused)}; "
            f"expected {shown(report.missing)}. Choose the network it is for: model=spvnas, spvcnn or minkunet. "
            f"Checkpoints of {', '.join(project.title for project in PROJECTS.values())} and our own are read"
        )
    if classifier and all(found[name].shape == targets[name].shape for name in found if name not in classifier):
        raise UserError(
            f"{where} has {len(found[classifier[0]])} classes, this data {len(targets[classifier[0]])} "
            f"({shown(classifier)}). To load all but the classifier, set model.init_strict=false"
        )
    different = [
        f"{name} is {tuple(value.shape)}, expected {tuple(targets[name].shape)}"
        for name, value in found.items()
        if value.shape != targets[name].shape
    ]
    if different:
        raise UserError(
            f"{where} does not fit this network: {shown(different, '; ')}. Set the widths that it was made with: "
            "model.backbone.control, or cr, depth and classifier of model.backbone, model.cluster.tap and projection"
        )
    missing = [name for name in report.missing if not name.startswith("proj.")]
    if strict and (missing or report.unexpected):
        raise UserError(
            f"{where} is not the whole network: missing {shown(missing) or 'nothing'}; unexpected "
            f"{shown(report.unexpected) or 'nothing'}. To load what matches, set model.init_strict=false"
        )
    broken = [name for name, value in found.items() if not torch.isfinite(value).all()]
    if broken:
        raise UserError(f"{where} holds values that are not finite in {shown(broken)}: the run that wrote it diverged")


def shown(names: Sequence[str], separator: str = ", ") -> str:
    """Format the first names and the number of further ones."""
    rest = len(names) - SHOWN
    return separator.join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
