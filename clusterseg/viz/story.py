"""Choice and order of the charts of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from clusterseg.data.label_map import load_label_map
from clusterseg.viz.charts import Chart
from clusterseg.viz.history import History


@dataclass(frozen=True)
class Chapter:
    """A heading with its charts.

    Attributes:
        title: The heading.
        charts: The charts below it; those without logged metrics are omitted.
        note: The line under the heading.
    """

    title: str
    charts: list[Chart] = field(default_factory=list)
    note: str = ""


def story(runs: Sequence[History]) -> list[Chapter]:
    """Return the chapters: scores, losses, classes, true modes, clusters, optimisation, machine, and the rest."""
    names = {key for run in runs for key in run.series}
    chapters = [
        _scores(),
        _losses(names),
        Chapter(
            "IoU by class",
            [
                Chart(key.removeprefix("val/iou/"), {key: "IoU"}, percent=True, whole=True, small=True)
                for key in by_class(names, "val/iou/")
            ],
            "Validation, over all points; every axis reaches from 0 to 100 %.",
        ),
        _modes(names),
        _clusters(),
        _subclasses(names),
        Chapter("Optimisation", [_lone("Learning rate", "train/lr"), _gradient_norm(names)]),
        _machine(),
    ]
    shown = {key for chapter in chapters for chart in chapter.charts for key in chart.metrics}
    shown |= {"epoch", "system/hours"}
    rest = [_lone(key, key) for key in sorted(names - shown)]
    return [*chapters, Chapter("Also logged", rest)]


def by_class(names: Iterable[str], prefix: str) -> list[str]:
    """Return the metrics under a prefix, in the order of the benchmark's classes, then others."""
    order = {f"{prefix}{name}": i for i, name in enumerate(load_label_map("semantickitti").class_names)}
    return sorted((key for key in names if key.startswith(prefix)), key=lambda key: (order.get(key, len(order)), key))


def _lone(title: str, key: str, **look: bool | str) -> Chart:
    return Chart(title, {key: title}, **look)  # type: ignore[arg-type]  # by field


def _scores() -> Chapter:
    scores = {"val/miou": "mIoU, all classes", "val/miou_present": "mIoU, classes present", "val/accuracy": "accuracy"}
    running = {"train/miou_present": "mIoU, classes present"}
    return Chapter(
        "Scores",
        [
            Chart("Validation", scores, percent=True),
            Chart("Training scans, running since the epoch began", running, percent=True),
        ],
    )


def _losses(names: set[str]) -> Chapter:
    terms = {key: key.removeprefix("train/loss_") for key in sorted(names) if key.startswith("train/loss_")}
    labels = {key: label.replace("_", "-") for key, label in terms.items()}
    head = {key: label for key, label in labels.items() if label.startswith("point-")}
    rest = {key: label for key, label in labels.items() if key not in head}
    charts = [Chart("Loss", {"train/loss": "total", **rest})]
    if head:
        charts.append(Chart("Loss of the cluster head, weighted", head))
    return Chapter("Losses", charts)


def _modes(names: set[str]) -> Chapter:
    """Return one chart a class, with a line for each of its known subclasses."""
    modes: dict[str, dict[str, str]] = {}
    for key in by_class(names, "val/mode_recall/"):
        name, _, mode = key.removeprefix("val/mode_recall/").partition("/")
        modes.setdefault(name, {})[key] = mode
    return Chapter(
        "Recall by true mode",
        [Chart(name, lines, percent=True, whole=True, small=True) for name, lines in modes.items()],
        "Share of the points of each kind that get their class, at validation.",
    )


def _clusters() -> Chapter:
    return Chapter(
        "Clusters",
        [
            _lone("Evenness of the assignment", "cluster/entropy", percent=True, note=EVENNESS),
            _lone("Drift of the centres, 1 - cos", "cluster/drift", log=True, note=DRIFT),
            _lone("Bank filled", "cluster/bank_fill", percent=True, note="Share of its rows that hold a vector."),
            _lone("Hard anchors", "cluster/hard", percent=True, note="Share that the network has wrong."),
            _lone("Anchors in a step", "cluster/anchors"),
            _lone("Error of the assignment", "cluster/sinkhorn_error", log=True, note="Of Sinkhorn's marginals."),
        ],
    )


def _subclasses(names: set[str]) -> Chapter:
    return Chapter(
        "Subclasses in use",
        [
            Chart(key.removeprefix("cluster/used/"), {key: "in use"}, zero=True, small=True)
            for key in by_class(names, "cluster/used/")
        ],
        "How many subclasses of a class got an anchor when the class was last sampled.",
    )


EVENNESS = "Entropy of the clusters' shares over its largest value: 100 % is an even spread."
DRIFT = "Mean over the centres that moved in a step."


def _gradient_norm(names: set[str]) -> Chart:
    whole = {"train/grad_norm": "whole network"}
    head = {"cluster/grad_norm": "the head's projection"} if "cluster/grad_norm" in names else {}
    return Chart("Gradient norm before clipping", whole | head, log=True)


def _machine() -> Chapter:
    return Chapter(
        "Speed and memory",
        [
            _lone("Scans a second, mean since the last validation", "train/scans_per_second"),
            Chart(
                "Peak memory, MiB", {"system/memory_mib": "process, first rank", "system/gpu_memory_mib": "GPU tensors"}
            ),
        ],
    )
