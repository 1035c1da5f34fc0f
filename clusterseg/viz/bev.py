"""Bird's-eye pictures of a scan: input, truth, prediction, error."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Integer, UInt8
from matplotlib.figure import Figure

from clusterseg.data.label_map import IGNORE_INDEX

_BACKGROUND = (16, 19, 26)
_IGNORED = (92, 99, 112)
_RIGHT, _WRONG = (120, 130, 148), (255, 60, 50)


def raster(
    xyz: Float[np.ndarray, "points 3"],
    colours: UInt8[np.ndarray, "points 3"],
    radius: float = 50.0,
    pixels: int = 500,
) -> UInt8[np.ndarray, "pixels pixels 3"]:
    """Draw points from above: x (forward) upwards, y (left) to the left; of several points in a pixel the highest is
    drawn.

    Args:
        xyz: Coordinates in metres in the sensor's frame; the sensor is the middle of the picture.
        colours: Red, green, blue of each point.
        radius: Half the edge of the picture in metres; points beyond, or not finite, are skipped.
        pixels: Edge of the picture.
    """
    image = np.full((pixels, pixels, 3), _BACKGROUND, np.uint8)
    with np.errstate(invalid="ignore"):
        inside = np.flatnonzero((np.abs(xyz[:, :2]) < radius).all(1) & np.isfinite(xyz[:, 2]))
    order = inside[np.argsort(xyz[inside, 2], kind="stable")]
    cells = ((radius - xyz[order, :2].astype(np.float64)) * (pixels / (2 * radius))).astype(int).clip(0, pixels - 1)
    flat = cells[:, 0] * pixels + cells[:, 1]
    last = len(flat) - 1 - np.unique(flat[::-1], return_index=True)[1]
    image.reshape(-1, 3)[flat[last]] = colours[order[last]]
    return image


def panels(
    xyz: Float[np.ndarray, "points 3"],
    truth: Integer[np.ndarray, " points"],
    prediction: Integer[np.ndarray, " points"],
    colours: UInt8[np.ndarray, "classes 3"],
) -> dict[str, UInt8[np.ndarray, "points 3"]]:
    """Colours of each point by picture name; truth and error only with labels."""
    grey = np.nan_to_num(np.clip((xyz[:, 2] + 3) / 6, 0, 1))
    ignored = truth == IGNORE_INDEX
    shown = {"input": np.repeat((60 + 195 * grey)[:, None], 3, axis=1).astype(np.uint8)}
    if not ignored.all():
        shown["truth"] = np.where(ignored[:, None], _IGNORED, colours[np.where(ignored, 0, truth)]).astype(np.uint8)
    shown["prediction"] = colours[prediction]
    if not ignored.all():
        error = np.where((truth == prediction)[:, None], _RIGHT, _WRONG)
        shown["error"] = np.where(ignored[:, None], _BACKGROUND, error).astype(np.uint8)
    return shown


def bev_figure(
    xyz: Float[np.ndarray, "points 3"], shown: Mapping[str, UInt8[np.ndarray, "points 3"]], title: str
) -> Figure:
    """Draw the pictures of `panels` side by side, two in a row.

    Args:
        xyz: Metres in the sensor's frame.
        shown: Colours of the points by the name of the picture.
        title: The line above.
    """
    rows = (len(shown) + 1) // 2
    figure = Figure(figsize=(9, 4.7 * rows), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for axes, (name, colours) in zip(np.ravel(figure.subplots(rows, 2)), shown.items(), strict=False):
        axes.imshow(raster(xyz, colours), extent=(50, -50, -50, 50), interpolation="nearest")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("y, metres", fontsize=8)
        axes.set_ylabel("x, metres", fontsize=8)
        axes.tick_params(labelsize=7)
    return figure


def bev_strip(
    xyz: Float[np.ndarray, "points 3"], shown: Mapping[str, UInt8[np.ndarray, "points 3"]], pixels: int = 420
) -> Figure:
    """Draw the pictures of `panels` in one row, without axes, ten times faster than `bev_figure`.

    Args:
        xyz: Metres in the sensor's frame.
        shown: Colours of the points by the name of the picture.
        pixels: Edge of each picture.
    """
    gap, top, dpi = 6, 24, 110
    width, height = len(shown) * (pixels + gap) - gap, pixels + top
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="black")
    for i, (name, colours) in enumerate(shown.items()):
        left = i * (pixels + gap)
        figure.figimage(raster(xyz, colours, pixels=pixels), xo=left, yo=0, origin="upper")
        figure.text((left + 2) / width, 1 - top / 2 / height, name, fontsize=9, va="center", color="white")
    return figure
