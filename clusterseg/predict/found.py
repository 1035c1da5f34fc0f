"""Find the point clouds in a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from clusterseg.data.clouds import SUFFIXES
from clusterseg.data.clouds.bag import METADATA, is_folder
from clusterseg.data.clouds.bag import SUFFIXES as RECORDINGS
from clusterseg.errors import UserError
from clusterseg.predict.record import RECORD, written_files

# System folders, and the occupancy grids of semantic scene completion, which also end with .bin.
FOREIGN_FOLDERS = frozenset({"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "lost+found", "voxels"})
log = logging.getLogger("clusterseg")


def find_clouds(source: Path, output: Path) -> list[Path]:
    """Find the point clouds of a file or folder, in order; links are followed, each folder is read once.

    A recording of ROS is one entry: its file, or the folder of one of ROS 2. Hidden files, `FOREIGN_FOLDERS` and files
    written by predictions are skipped. Broken links are listed, so that reading them reports the error.

    Args:
        source: A file, or a folder with files at any depth.
        output: The folder of the predictions.

    Raises:
        UserError: There is nothing to read, or a folder cannot be read.
    """
    if source.is_file() or is_folder(source):
        return [source]
    if not source.is_dir():
        raise UserError(f"input={source}: no such file or folder; give a point cloud or a folder of them")
    written = written_files(output)
    files, passed = [], 0
    for folder, name in _walk(source):
        if name == RECORD:
            written |= written_files(folder)
    for folder, name in _walk(source):
        path = folder / name
        if path.suffix.lower() not in (*SUFFIXES, *RECORDINGS) and name != METADATA:
            continue
        is_description = name == METADATA
        if (is_description or path.suffix.lower() in RECORDINGS) and is_description != is_folder(folder):
            continue  # a folder of ROS 2 is found by its description, its files are not found one by one
        if name.startswith(".") or os.path.join(os.path.realpath(folder), name) in written:
            passed += 1
        else:
            files.append(folder if is_description else path)
    if passed:
        log.info("passed over %d files that are hidden or were written by predictions", passed)
    if not files:
        raise UserError(
            f"input={source}: no point cloud in it; expected files that end with {', '.join((*SUFFIXES, *RECORDINGS))}"
        )
    return sorted(files)


def _walk(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield every file at any depth: first those in real folders, then those in linked folders."""
    visited: set[str] = set()
    waiting = [source]
    while waiting:
        for folder, folders, names in os.walk(waiting.pop(0), onerror=_refuse):
            real = os.path.realpath(folder)
            if real in visited:
                folders.clear()
                continue
            visited.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in FOREIGN_FOLDERS)
            waiting += [Path(folder, name) for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in sorted(names):
                yield Path(folder), name


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be read ({error.strerror}); check its permissions") from None
