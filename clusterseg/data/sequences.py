"""The folder layout of SemanticKITTI: find the sequences and scans below a root folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from clusterseg.data.scan import check_label_size, check_scan_size
from clusterseg.errors import UserError


@dataclass(frozen=True)
class ScanFiles:
    """The files of one scan.

    Attributes:
        scan_id: Sequence and frame, e.g. `08/000004`.
        scan: The `.bin` file.
        label: The `.label` file, or None if there is none.
    """

    scan_id: str
    scan: Path
    label: Path | None


def sequence_names(entries: Iterable[object] | int | str, key: str) -> tuple[str, ...]:
    """Normalise a list of sequences from a config: 0, "0" and "00" all name the folder `00`.

    Args:
        entries: Numbers or folder names; YAML reads `00` as a number and `08` as text.
        key: The config key, for the error.

    Raises:
        UserError: An entry is neither, or is listed twice.
    """
    listed = [entries] if isinstance(entries, (int, str)) else list(entries)
    for entry in listed:
        if isinstance(entry, bool) or not isinstance(entry, (int, str)):
            raise UserError(
                f"{key}: {entry!r} is not a sequence; list numbers or folder names, as {key}=[00,08]; a name that is "
                f"read as something else, such as 1e3 or true, in quotes: \"{key}=['NAME']\""
            )
    names = tuple(str(entry).zfill(2) for entry in listed)
    if len(set(names)) != len(names):
        raise UserError(f"{key}={list(names)}: a sequence is listed twice; list each one once")
    return names


def find_sequences(root: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the folders of all sequences under a root, by name in ascending order.

    Args:
        root: A folder that holds 00, 01, ..., or one with a folder `sequences` that does. A sequence is a folder with
            a folder `velodyne`.

    Raises:
        UserError: The root is missing, or holds no sequence.
    """
    path = Path(root).expanduser()
    remedy = "set data.root to the folder that holds the sequences 00, 01, ..."
    if not path.is_dir():
        raise UserError(f"data.root={root}: no such folder; {remedy}")
    found = _sequence_folders(path)
    if found:
        return {sequence.name: sequence for sequence in found}
    if (path / "velodyne").is_dir():
        remedy = f"this folder is itself one sequence: set data.root={path.parent}"
    raise UserError(
        f"data.root={root}: no sequences there; looked for {path}/00/velodyne and {path}/sequences/00/velodyne; "
        f"{remedy}"
    )


def holds_sequences(root: str | os.PathLike[str]) -> bool:
    """Whether `find_sequences` finds any."""
    return bool(_sequence_folders(Path(root).expanduser()))


def _sequence_folders(root: Path) -> list[Path]:
    for folder in (root, root / "sequences"):
        found = sorted(velodyne.parent for velodyne in folder.glob("*/velodyne"))
        if found:
            return found
    return []


def list_scans(
    root: str | os.PathLike[str], sequences: Iterable[str], key: str, require_labels: bool, check: bool = True
) -> list[ScanFiles]:
    """List the scans of sequences, in order, after checking the size of each file.

    Args:
        root: See `find_sequences`.
        sequences: Names of sequence folders.
        key: The config key that takes an explicit list of sequences, for errors.
        require_labels: Whether a scan without a label is an error.
        check: False lists the files without a look at their sizes or at missing labels.

    Raises:
        UserError: A sequence is missing or has no scans; a label is missing; a file has an impossible size.
    """
    wanted = tuple(sequences)
    present = find_sequences(root)
    missing = [name for name in wanted if name not in present]
    if missing:
        meant = [name for name in present if name not in wanted and _as_number(name) in missing]
        remedy = f"{key}=[{','.join(_quoted(name) for name in meant or present)}]"
        if meant:
            hint = f'{", ".join(meant)} was read as a number; in quotes it is the name: "{remedy}"'
        else:
            shell = '"' if "'" in remedy else ""
            hint = f"Download them, or list those to use: {shell}{remedy}{shell}"
        raise UserError(
            f"data.root={root}: sequences {', '.join(missing)} are missing; present: {', '.join(present)}. {hint}"
        )
    return [files for name in wanted for files in _scans_of(present[name], require_labels, check)]


def _as_number(name: str) -> str | None:
    """Return the name that YAML makes of a folder's name read as a number, such as 2011_09_26 or 007."""
    try:
        return str(int(name)).zfill(2)
    except ValueError:
        return None


def _quoted(name: str) -> str:
    """Quote a folder's name for a list on the command line."""
    return name if _as_number(name) == name or not re.fullmatch(r"[\d_.e+-]+", name) else f"'{name}'"


def _scans_of(sequence: Path, require_labels: bool, check: bool) -> list[ScanFiles]:
    scans = _sizes(sequence / "velodyne", ".bin", check)
    labels = _sizes(sequence / "labels", ".label", check)
    if not scans:
        raise UserError(f"{sequence / 'velodyne'}: no .bin files; download the scans of sequence {sequence.name}")
    listed = []
    for frame, size in scans.items():
        scan = sequence / "velodyne" / f"{frame}.bin"
        label = sequence / "labels" / f"{frame}.label"
        if check:
            num_points = check_scan_size(scan, size)
            if frame in labels:
                check_label_size(label, labels[frame], num_points)
            elif require_labels:
                raise UserError(
                    f"{label}: no label for {scan}, and training and validation need one per scan; "
                    "download the labels, or remove the scan"
                )
        listed.append(ScanFiles(f"{sequence.name}/{frame}", scan, label if frame in labels else None))
    return listed


def _sizes(folder: Path, suffix: str, check: bool) -> dict[str, int]:
    """Return the size in bytes of every file with a suffix, by its stem, in ascending order; 0 without `check`."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if entry.name.endswith(suffix) and not entry.name.startswith(".")]
        ordered = sorted(found, key=lambda entry: entry.name)
        return {entry.name[: -len(suffix)]: _size(entry) if check else 0 for entry in ordered}


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError as error:
        broken = "the link leads nowhere" if entry.is_symlink() else "check the disk"
        raise UserError(f"{entry.path}: cannot be read ({error.strerror}; {broken}); mend it or remove it") from error
