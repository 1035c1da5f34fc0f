"""Write a confusion matrix as a table and as a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure
from torch import Tensor

from clusterseg.files import write_file
from clusterseg.viz.figures import png


def write_confusion(confusion: Int[Tensor, "classes classes"], names: Sequence[str], folder: Path) -> bytes:
    """Write `confusion.csv` (points) and `confusion.png` (share of the truth, in percent) into a folder.

    Returns:
        The content of `confusion.png`.

    Args:
        confusion: Points, truth in rows, prediction in columns.
        names: One name per class.
        folder: The existing folder to write to.
    """
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["truth \\ prediction", *names])
    for name, row in zip(names, confusion.tolist(), strict=True):
        writer.writerow([name, *row])
    write_file(folder / "confusion.csv", table.getvalue())
    picture = png(confusion_figure(confusion, names))
    write_file(folder / "confusion.png", picture)
    return picture


def confusion_figure(confusion: Int[Tensor, "classes classes"], names: Sequence[str]) -> Figure:
    """Draw the matrix with rows that sum to 100 %; classes without points in the truth stay blank."""
    counts = confusion.double().numpy()
    truth = counts.sum(1, keepdims=True)
    share = np.divide(100 * counts, truth, out=np.full_like(counts, np.nan), where=truth > 0)
    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("prediction")
    axes.set_ylabel("truth")
    for (row, column), value in np.ndenumerate(share):
        if value >= 1:
            colour = "white" if value > 50 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, label="% of the class's points", shrink=0.8)
    return figure
