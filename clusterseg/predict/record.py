"""`predict.json`: the settings of the predictions in an output folder, and the list of predicted files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clusterseg.errors import UserError
from clusterseg.files import write_file

RECORD = "predict.json"
_FILES = "targets"


def written_files(folder: Path) -> set[str]:
    """Return the absolute paths of recorded prediction files below a folder, including unfinished ones."""
    try:
        record = json.loads((folder / RECORD).read_bytes())
        names = record[_FILES]
        return {os.path.join(os.path.realpath(folder), *str(name).split("/")) for name in names}
    except (OSError, ValueError, TypeError, KeyError):  # no file, or another program's
        return set()


def update_record(folder: Path, used: dict[str, Any], names: Iterable[str], is_alone: bool) -> None:
    """Add the settings and the files to write to the record.

    Settings without any written file, for example if all clouds were skipped, are dropped.

    Args:
        folder: The output folder.
        used: The settings that determine the labels.
        names: Files to write, relative to the folder.
        is_alone: Whether no other process writes into the folder.

    Raises:
        UserError: The folder holds predictions made with other settings, or another program's `predict.json`.
    """
    path = folder / RECORD
    used = json.loads(json.dumps(used))
    known: set[str] = set()
    if os.path.lexists(path):
        earlier = _read(path)
        differ = [f"{key} ({earlier.get(key)} there, {used[key]} now)" for key in used if earlier.get(key) != used[key]]
        unused = is_alone and not any(os.path.lexists(path) for path in written_files(folder))
        if differ and not (unused and _FILES in earlier):
            raise UserError(
                f"output={folder} holds predictions made with other {', '.join(differ)} (see {path}); "
                "choose another folder, or remove that one to predict anew"
            )
        known = set() if unused else set(earlier.get(_FILES, []))
    wanted = {**used, _FILES: sorted(known | set(names))}
    text = json.dumps(wanted, indent=2) + "\n"
    if not path.is_file() or path.read_text() != text:
        write_file(path, text)


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict) or "checkpoints" not in record:
        raise UserError(f"{path}: is there and was not written by predict.py; choose another output folder")
    return record
