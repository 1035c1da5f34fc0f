"""Write a 3D viewer page of scans on disk: `clusterseg viewer FILE_OR_FOLDER output=viewer.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Int64
from omegaconf import DictConfig
from pydantic import Field

from clusterseg.config.signatures import require
from clusterseg.data.clouds import SUFFIXES, Layout, choose_layout, read_cloud
from clusterseg.data.label_map import LabelMap, load_label_map
from clusterseg.data.scan import naming, read_labels
from clusterseg.errors import UserError
from clusterseg.predict.record import RECORD
from clusterseg.viz.scene_page import ViewedScan, write_viewer


def viewer(config: DictConfig, run_dir: Path) -> Path:
    """Write the viewer page of `config.input` to `config.output`.

    Returns:
        The .html file.

    Raises:
        UserError: A setting or a file is wrong.
    """
    for key in ("input", "output"):
        if config[key] is None:
            raise UserError(f"{key} is not set; clusterseg viewer input=FILE_OR_FOLDER output=FILE.html")
    require(config, scans=Annotated[int, Field(ge=1)])
    places = {
        key: None if config[key] is None else Path(str(config[key])).expanduser() for key in ("labels", "predictions")
    }
    output = Path(str(config.output)).expanduser()
    label_map = load_label_map(str(config.label_map))
    layout = choose_layout(config.columns, config.format)
    show(Path(str(config.input)).expanduser(), output, label_map, scans=config.scans, layout=layout, **places)
    print(f"wrote {output}: open it in a browser")
    return output


def show(
    source: Path,
    output: Path,
    label_map: LabelMap,
    labels: Path | None = None,
    predictions: Path | None = None,
    scans: int = 4,
    layout: Layout | None = None,
) -> None:
    """Write the viewer of one scan or of a folder.

    Args:
        source: A point cloud, or a folder of them.
        output: The .html file.
        label_map: Classes and colours.
        labels: Folder of the ground truth, or its file; None takes what is in a folder `labels` beside the scans'
            folder, unless that holds predictions.
        predictions: Folder of the predictions, or the file, or None.
        scans: Maximum number of scans.
        layout: See `read_cloud`.

    Raises:
        UserError: A file is missing or wrong.
    """
    inside = sorted(source.iterdir()) if source.is_dir() else []
    files = [source] if source.is_file() else [file for file in inside if file.suffix.lower() in SUFFIXES]
    if not files:
        raise UserError(
            f"input={source}: no point cloud there; give a scan, or a folder of scans, files that end with "
            f"{', '.join(SUFFIXES)}"
        )
    if scans < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, scans).round().astype(int)]
    viewed = []
    for file in files:
        cloud = read_cloud(file, layout)
        with naming(file):
            xyz = cloud.points(1.0, ("x", "y", "z"))
        known = _read(labels or _labels_beside(file), file, len(xyz), label_map)
        predicted = _read(predictions, file, len(xyz), label_map)
        viewed.append(ViewedScan(file.stem, xyz, known, predicted))
    write_viewer(output, viewed, label_map.class_names, label_map.colours)


def _labels_beside(scan: Path) -> Path | None:
    """Return the file of labels in a folder `labels` beside that of a scan; None without one."""
    folder = scan.absolute().parent.with_name("labels")
    file = folder / f"{scan.stem}.label"
    return file if file.is_file() and not (folder / RECORD).exists() else None


def _read(place: Path | None, scan: Path, points: int, label_map: LabelMap) -> Int64[np.ndarray, " points"] | None:
    if place is None:
        return None
    path = place if place.is_file() else place / f"{scan.stem}.label"
    raw = read_labels(path, points)
    with naming(path):
        return label_map.to_train(raw)
