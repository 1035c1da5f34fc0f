"""A 3D viewer of scans as one offline HTML page."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, UInt8

from clusterseg.data.label_map import IGNORE_INDEX
from clusterseg.files import write_file

_NONE = 65535  # the page's id of a point without a class


@dataclass(frozen=True, eq=False)
class ViewedScan:
    """A scan for the viewer; the page offers the colourings with data.

    Attributes:
        title: Its name in the list.
        xyz: Coordinates in metres; stored to 1 cm, up to 327 m from the origin.
        truth: Train id of each point, or `IGNORE_INDEX`.
        prediction: Train id of each point.
        subclass: Cluster of each point, or `IGNORE_INDEX`.
        subclass_names: Names of the clusters; clusters without a name are numbered.
    """

    title: str
    xyz: Float[np.ndarray, "points 3"]
    truth: Integer[np.ndarray, " points"] | None = None
    prediction: Integer[np.ndarray, " points"] | None = None
    subclass: Integer[np.ndarray, " points"] | None = None
    subclass_names: tuple[str, ...] = ()


def write_viewer(
    path: Path, scans: Sequence[ViewedScan], names: Sequence[str], colours: UInt8[np.ndarray, "classes 3"]
) -> None:
    """Write the page; it contains its data, needs no server, and draws with plain WebGL.

    Args:
        path: The .html file.
        scans: The scans; about 1.9 MB each for 120,000 points with truth and prediction.
        names: One name per train id.
        colours: Red, green, blue per train id.

    Raises:
        UserError: The file cannot be written.
    """
    data = {"names": list(names), "colours": colours.tolist(), "scans": [_as_json(scan) for scan in scans]}
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    page = (files("clusterseg.viz") / "viewer.html").read_text(encoding="utf-8")
    write_file(path, page.replace("__DATA__", text))


def _as_json(scan: ViewedScan) -> dict[str, Any]:
    ids = {"truth": scan.truth, "prediction": scan.prediction, "subclass": scan.subclass}
    packed: dict[str, Any] = {name: _pack(_page_ids(values)) for name, values in ids.items() if values is not None}
    if scan.subclass is not None:
        known = scan.subclass[scan.subclass != IGNORE_INDEX]
        packed["subclasses"] = int(known.max(initial=-1)) + 1
        packed["subclass_names"] = list(scan.subclass_names)
    return {"title": scan.title, "count": len(scan.xyz), "xyz": _pack(_centimetres(scan.xyz)), **packed}


def _centimetres(xyz: Float[np.ndarray, "points 3"]) -> np.ndarray:
    """Convert to x, y, z in centimetres and padding, 8 bytes per point; a point not finite is placed far away."""
    values = np.nan_to_num(xyz.astype(np.float64) * 100, nan=32767, posinf=32767, neginf=-32767)
    return np.pad(values.round().clip(-32767, 32767), ((0, 0), (0, 1))).astype("<i2")


def _page_ids(values: Integer[np.ndarray, " points"]) -> np.ndarray:
    return np.where(values == IGNORE_INDEX, _NONE, values).astype("<u2")


def _pack(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
