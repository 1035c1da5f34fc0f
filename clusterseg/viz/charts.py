"""Charts of metrics over steps, as data for the dashboard page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clusterseg.viz.history import History, Series

POINTS = 400  # maximum points of a line


@dataclass(frozen=True)
class Chart:
    """One chart.

    Attributes:
        title: Title with the unit.
        metrics: Label of each metric by its name. Several metrics share a chart for one run, and get one chart each
            in a comparison of runs.
        percent: Whether the values are shares of 1.
        whole: Whether the axis of shares always spans 0 to 1.
        zero: Whether the axis begins at 0.
        log: Whether the axis is logarithmic if all values are above 0.
        note: One sentence on how to read it.
        small: Whether to draw it small, as one of many.
    """

    title: str
    metrics: Mapping[str, str]
    percent: bool = False
    whole: bool = False
    zero: bool = False
    log: bool = False
    note: str = ""
    small: bool = False

    def drawn(self, runs: Sequence[History]) -> list[dict[str, Any]]:
        """Return the charts of some runs as data for the page; charts without logged metrics are omitted."""
        logged = [key for key in self.metrics if any(key in run.series for run in runs)]
        groups = [logged] if len(runs) == 1 else [[key] for key in logged]
        return [self._drawn(keys, runs) for keys in groups if keys]

    def _drawn(self, keys: Sequence[str], runs: Sequence[History]) -> dict[str, Any]:
        alone = len(self.metrics) == 1
        lines = []
        for key, label in self._distinct(keys, runs):
            lines += [
                {"label": label, "run": index, **thinned(run.series[key])}
                for index, run in enumerate(runs)
                if key in run.series
            ]
        title = self.title if alone or len(keys) > 1 or len(runs) == 1 else f"{self.title}: {self.metrics[keys[0]]}"
        look = {name: getattr(self, name) for name in ("percent", "whole", "zero", "log", "small")}
        return {"title": title, "note": self.note, **look, "lines": lines}

    def _distinct(self, keys: Sequence[str], runs: Sequence[History]) -> list[tuple[str, str]]:
        """Return the metrics with their labels; metrics with equal lines in a single run's chart are merged."""
        found: list[tuple[str, str]] = []
        for key in keys:
            same = [i for i, (other, _) in enumerate(found) if len(runs) == 1 and _equal(runs[0], key, other)]
            if same:
                found[same[0]] = (found[same[0]][0], f"{found[same[0]][1]} = {self.metrics[key]}")
            else:
                found.append((key, self.metrics[key]))
        return found


def _equal(run: History, a: str, b: str) -> bool:
    one, other = run.series[a], run.series[b]
    return np.array_equal(one.steps, other.steps) and np.array_equal(one.values, other.values, equal_nan=True)


def thinned(series: Series, points: int = POINTS) -> dict[str, Any]:
    """Reduce a line to data for the page.

    Returns:
        Points: [step, value], or, where there are more than `points`, [mean step, mean, lowest, highest] of as many
            groups of neighbours; the value is None where it is not finite.
        each: Values of the largest group.
        lost: Steps with values that are not finite: their number, and the first.
    """
    lost = series.steps[~np.isfinite(series.values)]
    groups = np.array_split(np.arange(len(series.steps)), min(points, len(series.steps)))
    each = max(map(len, groups))
    return {
        "points": [_point(series, rows, each > 1) for rows in groups],
        "each": each,
        "lost": [len(lost), *lost[:1].tolist()],
    }


def _point(series: Series, rows: np.ndarray, grouped: bool) -> list[float | None]:
    values = series.values[rows]
    finite = values[np.isfinite(values)]
    step = _short(series.steps[rows].mean())
    if not len(finite):
        return [step, None]
    shown = [finite.mean(), finite.min(), finite.max()] if grouped else [finite[0]]
    return [step, *map(_short, shown)]


def _short(value: float) -> float:
    """Round to seven digits, which exceed a chart's resolution."""
    number = float(f"{value:.7g}")
    return int(number) if number.is_integer() and abs(number) < 1e15 else number
