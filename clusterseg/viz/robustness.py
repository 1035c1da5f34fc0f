"""Corruptions in the report: table, plot, and one scan under each of them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.figure import Figure
from rich.table import Table

from clusterseg.predict.prediction import PredictedScan
from clusterseg.viz.bev import panels, raster
from clusterseg.viz.tables import percent

_COLOURS = ("#9dbdf5", "#4f80d8", "#1d3f86")


def robustness_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Return name, mIoU at each severity, CE and RR of each corruption and of their mean, as text in percent."""
    rows = [
        [name, *map(percent, row["miou"]), percent(row["ce"]), percent(row["rr"])]
        for name, row in found["corruptions"].items()
    ]
    empty = [""] * len(found["severities"])
    return [*rows, ["mean (mCE, mRR)", *empty, percent(found["mce"]), percent(found["mrr"])]]


def robustness_heads(found: Mapping[str, Any]) -> list[str]:
    """Return the heads of the columns of `robustness_rows`."""
    return ["mIoU %", *found["severities"], "CE %", "RR %"]


def robustness_table(found: Mapping[str, Any]) -> Table:
    """Build the table for the terminal."""
    table = Table(title=f"clean mIoU {percent(found['clean'])} %", caption=f"CE relative to {found['baseline']}")
    for index, head in enumerate(robustness_heads(found)):
        table.add_column(head, justify="right" if index else "left")
    rows = robustness_rows(found)
    for row in rows:
        if row is rows[-1]:
            table.add_section()
        table.add_row(*row)
    return table


def robustness_html(found: Mapping[str, Any]) -> str:
    """Build the table for the report, with what the figures mean."""
    heads = "".join(f"<th>{escape(head)}</th>" for head in robustness_heads(found))
    *rows, mean = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in robustness_rows(found)]
    body = "".join(f"<tr>{row}</tr>" for row in rows) + f'<tr class="mean">{mean}</tr>'
    note = (
        f"Clean mIoU {percent(found['clean'])} %. RR: mean mIoU over the severities by the clean one, more is better. "
        f"CE: errors by those of {found['baseline']}, less is better. The corruptions are simplified: compare networks "
        "that were evaluated here, not with published tables."
    )
    table = f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    return f'<p class="quiet">{escape(note)}</p>{table}'


def robustness_figure(found: Mapping[str, Any]) -> Figure:
    """Plot the mIoU under each corruption at each severity, with the clean one as a line."""
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    axes = figure.add_subplot()
    names, width = list(found["corruptions"]), 0.26
    for level, (severity, colour) in enumerate(zip(found["severities"], _COLOURS, strict=True)):
        heights = [100 * found["corruptions"][name]["miou"][level] for name in names]
        axes.bar(np.arange(len(names)) + (level - 1) * width, heights, width, color=colour, label=severity)
    axes.axhline(100 * found["clean"], color="#b3261e", linestyle="--", linewidth=1, label="clean")
    axes.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=9)
    axes.set_ylim(0, 1.2 * axes.get_ylim()[1])  # room for the legend
    axes.set_ylabel("mIoU, %")
    axes.legend(fontsize=8, ncols=4, loc="upper right")
    return figure


def corrupted_figure(scans: Mapping[str, PredictedScan], colours: UInt8[np.ndarray, "classes 3"]) -> Figure:
    """Draw one scan from above under each corruption, its points in the colours of their true classes.

    Args:
        scans: The scan by the title of its picture.
        colours: Red, green, blue of each train id.
    """
    rows = (len(scans) + 2) // 3
    figure = Figure(figsize=(9.2, 3.3 * rows), layout="constrained")
    places = np.ravel(figure.subplots(rows, 3, squeeze=False))
    for axes in places:
        axes.set_axis_off()
    for axes, (title, scan) in zip(places, scans.items(), strict=False):
        shown = panels(scan.points[:, :3], scan.targets, scan.predictions, colours)
        axes.imshow(raster(scan.points[:, :3], shown.get("truth", shown["input"]), radius=40.0, pixels=360))
        axes.set_title(f"{title}: {len(scan.points):,} points", fontsize=9)
    return figure
