"""Label files of one id for each point: .label, .npy, .csv."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from clusterseg.data.readers.records import read_records
from clusterseg.errors import UserError

ENDINGS = (".label", ".npy", ".csv")


def read_label_file(path: Path) -> Int64[np.ndarray, " points"]:
    """Read a label file: `.label` (uint32), `.npy` (integers), or `.csv` (see `read_label_csv`).

    Raises:
        UserError: The file is missing or damaged, or its ids are negative.
    """
    if path.suffix == ".npy":
        labels = read_label_array(path).astype(np.int64)
    elif path.suffix == ".csv":
        labels = read_label_csv(path)
    else:
        labels = read_records(path, "<u4", 1, "labels (uint32)")[:, 0].astype(np.int64)
    if len(labels) and labels.min() < 0:
        raise UserError(f"{path}: the id {labels.min()} is negative; ids are 0..65535")
    return labels


def read_label_array(path: Path) -> np.ndarray:
    """Read whole numbers from a `.npy` file, without running anything.

    Raises:
        UserError: It is no array of integers.
    """
    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: is no plain numpy array ({error}); save it by np.save(path, labels)") from None
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.ndim not in (1, 2):
        raise UserError(f"{path}: expected one integer for each point, as np.save(path, labels)")
    return labels.reshape(-1)


def read_label_csv(path: Path) -> Int64[np.ndarray, " points"]:
    """Read a `.csv` file: one line for each point, after a line of names or none.

    The ids are in the only column, or in the one named `label`.

    Raises:
        UserError: It is of another form; the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None
    names = [name.strip().strip('"').lower() for name in lines[0].split(",")] if lines else []
    named = bool(names) and not names[0].lstrip("-").replace(".", "", 1).isdigit()
    if len(names) != 1 and "label" not in names:
        raise UserError(f"{path}: {len(names)} columns, none of them named label; expected one column of ids")
    column = names.index("label") if "label" in names else 0
    try:
        return np.array([int(line.split(",")[column]) for line in lines[named:] if line.strip()], np.int64)
    except (ValueError, IndexError):
        return _wrong_line(path, lines, int(named), column)


def _wrong_line(path: Path, lines: list[str], start: int, column: int) -> Int64[np.ndarray, " points"]:
    """Report the first line that holds no id."""
    for number, line in enumerate(lines[start:], start + 1):
        fields = line.split(",")
        if line.strip() and (len(fields) <= column or not fields[column].strip().lstrip("-").isdecimal()):
            raise UserError(f"{path}: line {number} holds no whole number: {line[:60]!r}")
    raise UserError(f"{path}: expected one whole number in each line")
