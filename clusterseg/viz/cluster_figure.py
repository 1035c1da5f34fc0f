"""Figure of the subclasses: their centres, and one class of some scans coloured by subclass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from clusterseg.files import replacing

Scene = tuple[Float[np.ndarray, "points 3"], Int[np.ndarray, " points"]]


def principal_plane(vectors: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows 2"]:
    """Project onto the two principal components."""
    centered = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(centered, full_matrices=False)
    plane = np.zeros((len(vectors), 2), vectors.dtype)
    plane[:, : min(2, len(directions))] = centered @ directions[:2].T
    return plane


def cluster_figure(
    centers: Float[np.ndarray, "clusters dim"],
    classes: Int[np.ndarray, " clusters"],
    class_names: Sequence[str],
    colours: Int[np.ndarray, "classes 3"],
    scenes: Sequence[Scene],
    shown: str,
) -> Figure:
    """Draw the centres in their principal plane, and scenes from above with one class coloured by subclass.

    Args:
        centers: Unit vectors.
        classes: Class of each centre.
        class_names: Names by class.
        colours: RGB in 0..255 by class.
        scenes: For each scan x, y, z in metres, and the subclass of each point; -1 for points of other classes.
        shown: Name of the class drawn in the scenes.
    """
    figure = Figure(figsize=(6 * (1 + len(scenes)), 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + len(scenes), squeeze=False)[0]
    plane = principal_plane(centers) if len(centers) else np.zeros((0, 2))
    for c in np.unique(classes):
        rows = classes == c
        axes[0].scatter(*plane[rows].T, s=26, color=colours[c] / 255, edgecolor="0.3", lw=0.4, label=class_names[c])
    axes[0].set_title("cluster centres, two principal directions")
    axes[0].legend(fontsize=7, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.06), frameon=False)
    for ax, (points, subclass) in zip(axes[1:], scenes, strict=True):
        other, known = points[subclass < 0], subclass >= 0
        ax.scatter(*other[:, :2].T, s=0.15, color="0.85", rasterized=True)
        ax.scatter(*points[known, :2].T, s=1.5, c=subclass[known] % 20, cmap="tab20", vmin=0, vmax=19, rasterized=True)
        count = len(np.unique(subclass[known]))
        ax.set_title(f"{shown}: {count} subclasses seen ({known.sum():,} points)")
        ax.set(xlim=(-40, 40), ylim=(-40, 40), aspect="equal", xlabel="x (m)", ylabel="y (m)")
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG atomically."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
