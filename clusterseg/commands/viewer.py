"""A viewer of scans on disk: ``python -m clusterseg.commands.viewer input=FILE_OR_FOLDER output=viewer.html``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from clusterseg.data.label_map import LabelMap, load_label_map
from clusterseg.data.scan import naming, read_labels, read_scan
from clusterseg.errors import UserError
from clusterseg.viz.viewer import ViewedScan, write_viewer

USAGE = """python -m clusterseg.commands.viewer input=FILE_OR_FOLDER output=FILE.html [labels=DIR] [predictions=DIR] [scans=N]
  input        a .bin file, or a folder of them (a sequence's velodyne)
  labels       folder of the .label files of the truth; found by itself beside velodyne
  predictions  folder of .label files of the same names, as predict.py and split=test write them
  scans        at most so many, spread evenly (default 4; some 2 MB each)"""
_KEYS = ("input", "output", "labels", "predictions", "scans")


def show(
    source: Path, output: Path, labels: Path | None = None, predictions: Path | None = None, scans: int = 4
) -> None:
    """Write the viewer of one scan or of a folder.

    Args:
        source: A .bin file, or a folder of them.
        output: The .html file.
        labels: Folder of the truth; None looks for ``labels`` beside the scans' folder.
        predictions: Folder of the predictions, or None.
        scans: At most so many.

    Raises:
        UserError: A file is missing or wrong.
    """
    files = [source] if source.is_file() else sorted(source.glob("*.bin"))
    if not files:
        raise UserError(f"input={source}: no .bin file there; give a scan, or a folder of scans")
    if scans < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, scans).round().astype(int)]
    label_map = load_label_map("semantickitti")
    beside = files[0].parent.with_name("labels")
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


def main(arguments: Sequence[str]) -> None:
    """Write a viewer from ``key=value`` arguments; exit status 2 for a mistake."""
    given = dict(argument.partition("=")[::2] for argument in arguments)
    try:
        unknown = sorted(set(given) - set(_KEYS))
        if unknown or not {"input", "output"} <= given.keys():
            raise UserError(f"{'unknown ' + ', '.join(unknown) if unknown else 'input and output are needed'}\n{USAGE}")
        folders = {key: Path(given[key]).expanduser() for key in ("labels", "predictions") if key in given}
        scans = given.get("scans", "4")
        if not scans.isdigit() or int(scans) < 1:
            raise UserError(f"scans={scans}: expected a number from 1")
        output = Path(given["output"]).expanduser()
        show(Path(given["input"]).expanduser(), output, **folders, scans=int(scans))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"wrote {output}: open it in a browser")


if __name__ == "__main__":
    main(sys.argv[1:])
