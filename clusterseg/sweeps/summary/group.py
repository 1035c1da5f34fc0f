"""Groups of runs that differ in their seed only, and their scores."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from clusterseg.sweeps.summary.naming import Settings, comparable, label, names, short_keys
from clusterseg.sweeps.summary.run import Run, find_runs, read_run


@dataclass(frozen=True)
class Spread:
    """Mean and deviation of a number over repeated runs.

    Attributes:
        mean: The mean.
        std: The sample standard deviation (divided by n - 1); None for a single run.
    """

    mean: float
    std: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Compute the spread of one or more numbers."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class Group:
    """Finished runs that differ in their seed only.

    Attributes:
        label: Its settings in one line, numbers rounded.
        settings: The settings that distinguish it from the other groups, by full key.
        runs: Its runs.
    """

    label: str
    settings: Settings
    runs: tuple[Run, ...]

    @property
    def best(self) -> Spread:
        """Spread over the runs of the score at each one's best validation."""
        return Spread.of([run.best for run in self.runs])

    @property
    def last(self) -> Spread:
        """Spread over the runs of the score at each one's last validation."""
        return Spread.of([run.last for run in self.runs])

    @property
    def top(self) -> Run:
        """The run with the highest validation."""
        return max(self.runs, key=lambda run: run.best)

    @property
    def iou(self) -> dict[str, Spread]:
        """Spread over the runs of the IoU by class at each one's best validation."""
        classes = dict.fromkeys(name for run in self.runs for name in run.iou)
        return {name: Spread.of([run.iou[name] for run in self.runs if name in run.iou]) for name in classes}

    @property
    def curve(self) -> list[tuple[int, Spread]]:
        """Spread over the runs at each step at which all of them were scored."""
        curves = [dict(run.curve) for run in self.runs]
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        return [(step, Spread.of([curve[step] for curve in curves])) for step in steps]


@dataclass(frozen=True)
class Summary:
    """Summary of a set of runs.

    Attributes:
        groups: The groups, from the best mean to the worst.
        others: Runs outside of all groups, with the reason in their state.
    """

    groups: tuple[Group, ...]
    others: tuple[Run, ...]


def summarise(patterns: Sequence[str]) -> Summary:
    """Group the runs in folders, or in all folders that match patterns.

    Raises:
        UserError: There is no run.
    """
    runs = [read_run(folder) for folder in find_runs(patterns)]
    finished = [run for run in runs if run.state == "finished"]
    groups = sorted(group_runs(finished), key=lambda group: -group.best.mean)
    return Summary(tuple(groups), tuple(run for run in runs if run.state != "finished"))


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Group the runs that have the same settings except the seed."""
    settings = comparable(runs)
    found: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for index, values in enumerate(settings):
        found.setdefault(tuple(sorted(values.items())), []).append(index)
    own = names(runs, settings)
    short = short_keys(list(dict.fromkeys(key for name in own for key in name)))
    firsts = [own[members[0]] for members in found.values()]
    labels = [label(name, short) for name in firsts]
    if len(set(labels)) < len(labels):
        labels = [label(name, short, digits=17) for name in firsts]
    return [
        Group(text, name, tuple(runs[index] for index in members))
        for text, name, members in zip(labels, firsts, found.values(), strict=True)
    ]


def stacked(text: str) -> str:
    """Return a label with one line for each setting."""
    return text.replace(", ", "\n")
