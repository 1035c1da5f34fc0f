"""The benchmark's submission: one label file per test scan, packed into `submission.zip`."""

from __future__ import annotations

import logging
import os
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from clusterseg.data.label_map import LabelMap
from clusterseg.data.scan import write_labels
from clusterseg.errors import UserError
from clusterseg.files import replacing, write_file
from clusterseg.predict.prediction import PredictedScan
from clusterseg.predict.validate import validate

UPLOAD = {
    "single": "https://www.codabench.org/competitions/12448/",
    "multi": "the competition of several scans that http://semantic-kitti.org/tasks.html names",
}
# The entries that the benchmark's server reads; see "Validation" in the README of semantic-kitti-api.
DESCRIPTION = """method name: {name}
method description:
project url:
publication url:
bibtex:
organization or affiliation:
"""
_TIME = (1980, 1, 1, 0, 0, 0)  # fixed time stamp, so that equal predictions give equal bytes
log = logging.getLogger("clusterseg")


class LabelWriter:
    """Writes the labels predicted for each scan, in raw ids, for every point.

    Args:
        folder: The folder to write to.
        name: Function from a scan's id to the path of its labels in the folder; see `Reader.prediction_name`.
        label_map: Train ids to raw ids.
    """

    def __init__(self, folder: Path, name: Callable[[str], str], label_map: LabelMap) -> None:
        self.folder = folder
        self.name = name
        self.label_map = label_map

    def __call__(self, scan: PredictedScan) -> None:
        """Write one scan."""
        write_labels(self.folder / self.name(scan.scan_id), self.label_map.to_raw(scan.predictions))


def pack(folder: Path, files: Iterable[str], target: Path, name: str = "clusterseg") -> None:
    """Pack label files and `description.txt` into a zip file.

    Folders get their own entries, which the benchmark's script expects. An existing `description.txt` is not
    replaced, so that it can be filled in once.

    Args:
        folder: The folder of `LabelWriter`.
        files: The label files to pack, by their paths within the folder.
        target: The zip file.
        name: Name of the method, for the description.

    Raises:
        UserError: The file cannot be written.
    """
    description = folder / "description.txt"
    if not description.exists():
        write_file(description, DESCRIPTION.format(name=name))
    files = sorted(files)
    folders = sorted({f"{parent.as_posix()}/" for file in files for parent in Path(file).parents if parent.name})
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in folders:
            archive.writestr(_info(entry), b"")
        for file in ["description.txt", *files]:
            archive.writestr(_info(file), (folder / file).read_bytes())


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (0o40755 << 16 | 0x10) if name.endswith("/") else 0o100644 << 16
    return info


def conclude(target: Path, root: str | os.PathLike[str], track: str = "single") -> None:
    """Validate a packed submission against the scans under `data.root`, and report whether it is ready."""
    try:
        checked = validate(target, root, track)
    except UserError as error:
        log.warning("NOT ready to upload: %s", error)
        return
    log.info("%s", checked.verdict(target))
    if checked.complete:
        log.info("fill in description.txt in it if you like, then upload it at %s", UPLOAD[track])
