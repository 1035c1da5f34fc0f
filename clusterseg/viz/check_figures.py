"""Plots of a data set for the page of `clusterseg check`."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from clusterseg.doctor.survey import Survey

_BINS = 500  # scans, or means of neighbouring scans, that a plot shows


def class_figure(record: dict[str, Any]) -> Figure:
    """Plot the share of the points of each class by split, on a logarithmic axis.

    Args:
        record: What `clusterseg.doctor.diagnosis.record` returns.
    """
    names, splits = list(record["classes"]), list(record["splits"])
    figure = Figure(figsize=(9, 0.25 * len(names) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(splits)
    for place, split in enumerate(splits):
        points = np.array([record["classes"][name][split] for name in names], float)
        rows = np.arange(len(names)) + (place - (len(splits) - 1) / 2) * height
        axes.barh(rows, 100 * points / max(points.sum(), 1), height, label=split)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=1e-3)
    axes.set_xlim(left=0)
    axes.set_xlabel("% of the split's points")
    axes.legend(fontsize=8)
    return figure


def size_figure(survey: Survey) -> Figure:
    """Plot points and voxels of the scans, in the order of the data set, with the cap."""
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for label, values in (
        ("points", [facts.points for facts in survey.read]),
        ("voxels", [np.nan if facts.voxels is None else facts.voxels for facts in survey.read]),
    ):
        axes.plot(*_thinned(values), ".-", linewidth=0.8, markersize=2, label=label)
    if survey.max_voxels is not None and survey.max_voxels < 2 * max(facts.points for facts in survey.read):
        axes.axhline(survey.max_voxels, color="#9aa4b8", linestyle="--", linewidth=1, label="data.max_voxels")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("scan, in order")
    axes.legend(fontsize=8)
    return figure


def remission_figure(survey: Survey) -> Figure:
    """Plot some quantiles of the remission of each scan, in the order of the data set."""
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for row, label in ((3, "99 %"), (2, "median"), (1, "1 %")):
        values = [np.nan if facts.remission is None else facts.remission[row] for facts in survey.read]
        axes.plot(*_thinned(values), ".-", linewidth=0.8, markersize=2, label=label)
    axes.set_xlabel("scan, in order")
    axes.set_ylabel("remission")
    axes.legend(fontsize=8)
    return figure


def _thinned(values: list[float] | list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the place and the value of each scan, or means of neighbours if there are many."""
    parts = np.array_split(np.array(values, float), min(_BINS, len(values)))
    starts = np.cumsum([0, *map(len, parts[:-1])])
    means = [part[np.isfinite(part)].mean() if np.isfinite(part).any() else np.nan for part in parts]
    return starts, np.array(means)
