"""Which files of a folder are point clouds to predict."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from clusterseg.errors import UserError
from clusterseg.predict.clouds import SUFFIXES
from clusterseg.predict.record import RECORD, written_files

# Leavings of systems, and the occupancy bits of semantic scene completion, which end with .bin too.
FOREIGN_FOLDERS = frozenset({"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "lost+found", "voxels"})
log = logging.getLogger("clusterseg")


def find_clouds(source: Path, output: Path) -> list[Path]:
    """The point clouds of a file or folder, in order; links to folders are followed, each folder is read once.

    Hidden files, `FOREIGN_FOLDERS`, and what predictions have written are passed over. Links that lead nowhere are
    listed, so that whoever reads them tells.

    Args:
        source: A file, or a folder with files at any depth.
        output: Where the predictions go.

    Raises:
        UserError: There is nothing to read, or a folder cannot be read.
    """
    if source.is_file():
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
        if path.suffix.lower() not in SUFFIXES:
            continue
        if name.startswith(".") or os.path.join(os.path.realpath(folder), name) in written:
            passed += 1
        else:
            files.append(path)
    if passed:
        log.info("passed over %d files that are hidden or were written by predictions", passed)
    if not files:
        raise UserError(f"input={source}: no point cloud in it; expected files that end with {', '.join(SUFFIXES)}")
    return sorted(files)


def _walk(source: Path) -> Iterator[tuple[Path, str]]:
    """Every file at any depth: first those below folders themselves, then those below links to other folders."""
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
