"""Plots of an evaluation as PNG bytes."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    """Encode a figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def distance_figure(result: dict[str, Any]) -> Figure:
    """Plot the scores and the share of points by distance from the sensor.

    Args:
        result: What `clusterseg.commands.evaluate.evaluate` returns.
    """
    bands = {band: values for band, values in result["distance"].items() if values["points"]}
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.add_subplot()
    shares = [100 * values["points"] / result["points"] for values in bands.values()]
    axes.bar(list(bands), shares, color="#d5dbe8", label="share of the points")
    for name, label in (("miou_present", "mIoU, classes present"), ("accuracy", "accuracy")):
        axes.plot(list(bands), [100 * values[name] for values in bands.values()], marker="o", label=label)
    axes.set_ylim(0, 100)
    axes.set_ylabel("%")
    axes.set_xlabel("distance from the sensor")
    axes.legend(fontsize=8)
    return figure


def reliability_figure(result: dict[str, Any]) -> Figure:
    """Plot accuracy by confidence (reliability diagram); a calibrated network lies on the diagonal.

    Args:
        result: What `clusterseg.commands.evaluate.evaluate` returns.
    """
    bins = result["calibration"]
    filled = [i for i, points in enumerate(bins["points"]) if points]
    figure = Figure(figsize=(4.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    width = 1 / len(bins["points"])
    share = [bins["points"][i] / result["points"] for i in filled]
    axes.bar([(i + 0.5) * width for i in filled], share, width, color="#d5dbe8", label="share of the points")
    axes.plot([0, 1], [0, 1], color="#9aa4b8", linestyle="--", linewidth=1)
    axes.plot([bins["confidence"][i] for i in filled], [bins["accuracy"][i] for i in filled], "o-", label="accuracy")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence")
    axes.set_title(f"expected calibration error {100 * bins['ece']:.2f} %", fontsize=10)
    axes.legend(fontsize=8)
    return figure
