"""Output paths of the labels of each cloud."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from clusterseg.data.clouds.bag import SUFFIXES, is_folder, is_message, is_recording, list_messages
from clusterseg.errors import UserError
from clusterseg.predict.found import find_clouds


def plan(source: Path, output: Path, topic: str | None = None) -> dict[Path, Path]:
    """Map every input file to its `.label` file; subfolders of the input are repeated in the output.

    Each message of a recording of ROS is an input of its own: the first of `drive.bag` maps to `drive/000000.label`.
    A recording that cannot be read stays one input, so that it is left out as one.

    Scans of a SemanticKITTI sequence follow the benchmark's layout: `sequences/08/velodyne/000000.bin` maps to
    `sequences/08/predictions/000000.label`, also if the input is `sequences/08` itself.

    Raises:
        UserError: There is nothing to read, or two files would share one output.
    """
    targets: dict[Path, Path] = {}
    taken: dict[Path, Path] = {}
    base = source if source.is_dir() and not is_folder(source) else source.parent
    for file in (cloud for found in find_clouds(source, output) for cloud in _clouds(found, topic)):
        target = output / _within(file, base).with_suffix(".label")
        if target in taken:
            raise UserError(f"{taken[target]} and {file} would both be written to {target}; rename one of them")
        targets[file] = taken[target] = target
    return targets


def _clouds(file: Path, topic: str | None) -> list[Path]:
    """Return a file, or the messages of a recording."""
    if is_recording(file):
        with suppress(UserError):  # reading it says the same
            return list_messages(file, topic)
    return [file]


def _within(file: Path, base: Path) -> Path:
    """Path of a cloud's output within the output folder, with its original extension."""
    relative = file.relative_to(base)
    if is_message(file):
        folder = relative.parent
        return (folder.with_suffix("") if folder.suffix.lower() in SUFFIXES else folder) / file.name
    parents = Path(os.path.abspath(file)).parts[:-1]
    is_scan = len(parents) > 3 and parents[-1] == "velodyne" and parents[-3] == "sequences"
    if not is_scan or relative.parent == Path("."):  # the input is a folder velodyne, or one file
        return relative
    before = relative.parts[:-4]  # path above `sequences`, inside the input
    return Path(*before, "sequences", parents[-2], "predictions", file.name)
