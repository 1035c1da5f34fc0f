"""Write a 3D viewer page of scans on disk: `clusterseg viewer FILE_OR_FOLDER output=viewer.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Int64
from omegaconf import DictConfig
from pydantic import Field

from clusterseg.config.signatures import require
from clusterseg.data.label_map import LabelMap, load_label_map
from clusterseg.data.scan import naming, read_labels, read_scan
from clusterseg.errors import UserError
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
    folders = {
        key: None if config[key] is None else Path(str(config[key])).expanduser() for key in ("labels", "predictions")
    }
    output = Path(str(config.output)).expanduser()
    label_map = load_label_map(str(config.label_map))
    show(Path(str(config.input)).expanduser(), output, label_map, scans=config.scans, **folders)
    print(f"wrote {output}: open it in a browser")
    return output


def show(
    source: Path,
    output: Path,
    label_map: LabelMap,
    labels: Path | None = None,
    predictions: Path | None = None,
    scans: int = 4,
) -> None:
    """Write the viewer of one scan or of a folder.

    Args:
        source: A .bin file, or a folder of them.
        output: The .html file.
        label_map: Classes and colours.
        labels: Folder of the ground truth; None looks for `labels` beside the scans' folder.
        predictions: Folder of the predictions, or None.
        scans: Maximum number of scans.

    Raises:
        UserError: A file is missing or wrong.
    """
    files = [source] if source.is_file() else sorted(source.glob("*.bin"))
    if not files:
        raise UserError(f"input={source}: no .bin file there; give a scan, or a folder of scans")
    if scans < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, scans).round().astype(int)]
    beside = files[0].absolute().parent.with_name("labels")
    truth = labels or (beside if beside.is_dir() else None)
    viewed = []
    for file in files:
        xyz = read_scan(file)[:, :3]
        known = _read(truth, file, len(xyz), label_map)
        predicted = _read(predictions, file, len(xyz), label_map)
        viewed.append(ViewedScan(file.stem, xyz, known, predicted))
    write_viewer(output, viewed, label_map.class_names, label_map.colours)


def _read(folder: Path | None, scan: Path, points: int, label_map: LabelMap) -> Int64[np.ndarray, " points"] | None:
    if folder is None:
        return None
    path = folder / f"{scan.stem}.label"
    raw = read_labels(path, points)
    with naming(path):
        return label_map.to_train(raw)
