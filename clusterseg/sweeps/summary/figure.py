"""The plot of a summary."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from clusterseg.sweeps.summary.group import Group, Summary, stacked
from clusterseg.sweeps.summary.run import METRIC

COLOURED = 10  # groups; more colours could not be distinguished
GREY = "#b4bac6"


def summary_figure(summary: Summary) -> Figure:
    """Plot the scores over the steps (mean and standard deviation by group) and the best score of each run.

    Runs outside of all groups are thin dashed lines.
    """
    groups = summary.groups
    labels = [stacked(f"#{number} {group.label}") for number, group in enumerate(groups, 1)]
    lines = sum(text.count("\n") + 1 for text in labels)
    figure = Figure(figsize=(12, max(4.4, 1.2 + 0.2 * len(groups) + 0.16 * lines)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    colours = [to_hex(colormaps["tab10"](index)) if index < COLOURED else GREY for index in range(len(groups))]
    for run in summary.others:
        left.plot(*_percent(run.curve), color=GREY, linewidth=0.8, linestyle="--", marker="x", markersize=3)
    for group, colour in reversed(list(zip(groups, colours, strict=True))):
        _draw_curve(left, group, colour)
    for height, (group, colour) in enumerate(zip(groups, colours, strict=True)):
        _draw_points(right, group, colour, height)
    left.set(xlabel="optimiser steps", ylabel=f"{METRIC} (%)", title="validations: mean ± standard deviation")
    right.set(xlabel=f"best {METRIC} (%)", title="each run (o), mean ± standard deviation (|)")
    right.set_yticks(range(len(groups)), labels, fontsize=8)
    for text, colour in zip(right.get_yticklabels(), colours, strict=True):
        text.set_color(colour if colour != GREY else "0.4")
    right.set_ylim(len(groups) - 0.5, -0.5)
    right.grid(axis="x", color="0.92")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.grid(color="0.92")
    for axes in (left, right):
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_curve(axes: Axes, group: Group, colour: str) -> None:
    means = [(step, spread.mean) for step, spread in group.curve]
    steps, scores = _percent(means)
    axes.plot(steps, scores, color=colour, marker="o", markersize=3, linewidth=1.6)
    low = [100 * (spread.mean - (spread.std or 0)) for _, spread in group.curve]
    high = [100 * (spread.mean + (spread.std or 0)) for _, spread in group.curve]
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _draw_points(axes: Axes, group: Group, colour: str, height: int) -> None:
    best = [100 * run.best for run in group.runs]
    axes.plot(best, [height] * len(best), "o", color=colour, markersize=6, alpha=0.75, markeredgewidth=0)
    if group.best.std is not None:
        spread = 100 * group.best.std
        axes.errorbar(100 * group.best.mean, height, xerr=spread, fmt="|", color="0.2", capsize=3, markersize=12)


def _percent(curve: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in curve], [100 * score for _, score in curve]
