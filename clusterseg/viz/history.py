"""Read the logged metrics of a run from `metrics.csv`, also while it is running."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from clusterseg.errors import UserError


@dataclass(frozen=True, eq=False)
class Series:
    """One metric over the optimiser steps.

    Attributes:
        steps: In ascending order.
        values: As logged; NaN and infinity too.
    """

    steps: Int64[np.ndarray, " rows"]
    values: Float64[np.ndarray, " rows"]

    @property
    def last(self) -> float:
        """Last value."""
        return float(self.values[-1])

    def best(self) -> tuple[int, float] | None:
        """Step and value of the first maximum; None if all values are NaN."""
        finite = np.flatnonzero(np.isfinite(self.values))
        if not len(finite):
            return None
        row = finite[self.values[finite].argmax()]
        return int(self.steps[row]), float(self.values[row])

    def at(self, step: int) -> float:
        """Value logged at a step; NaN if there is none."""
        rows = np.flatnonzero(self.steps == step)
        return float(self.values[rows[-1]]) if len(rows) else math.nan


@dataclass(frozen=True, eq=False)
class History:
    """All metrics of a run.

    Attributes:
        name: Name of the run.
        folder: The folder of its `metrics.csv`.
        series: Series by metric; none is empty.
    """

    name: str
    folder: Path
    series: dict[str, Series] = field(default_factory=dict)


def read_history(path: Path, name: str) -> History:
    """Read a `metrics.csv`; an incomplete last line is skipped.

    Raises:
        UserError: The file cannot be read or is no table of metrics.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a run folder or its metrics.csv") from None
    whole = text[: text.rfind("\n") + 1].replace("\0", "")
    rows = csv.reader(whole.splitlines())
    header = next(rows, [])
    if header and "step" not in header:
        raise UserError(f"{path}: no column `step`; expected a metrics.csv as train.py writes it")
    columns: dict[str, dict[int, float]] = {}
    for row in rows:
        _add(columns, dict(zip(header, row, strict=False)))
    return History(name, path.parent, {key: _series(values) for key, values in columns.items()})


def _add(columns: dict[str, dict[int, float]], row: dict[str, str]) -> None:
    """Add a row; the later of two values of a metric in one step counts."""
    step = _number(row.pop("step", ""))
    if step is None or not math.isfinite(step):
        return
    for key, text in row.items():
        value = _number(text)
        if value is not None:
            columns.setdefault(key, {})[int(step)] = value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _series(values: dict[int, float]) -> Series:
    steps = sorted(values)
    return Series(np.array(steps, np.int64), np.array([values[step] for step in steps], np.float64))
