"""The result of one run of a study, as a JSON file that outlives the run's folder."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from clusterseg.errors import UserError
from clusterseg.files import write_file
from clusterseg.sweeps.study.plan import Cell, Plan


@dataclass(frozen=True)
class Result:
    """What a finished run gave.

    Attributes:
        arm: Name of the arm.
        seed: The seed.
        hash: Of the run's settings, see `Cell.hash`.
        settings: Arguments of `clusterseg train`.
        metrics: Every `val/` figure of the last validation.
        curve: Optimiser steps and the endpoint at each validation.
        steps: Optimiser steps in all.
        seconds: Wall time of the run, of all its parts, with start-up.
        threads: Threads that it computed with.
        versions: Of clusterseg and PyTorch.
    """

    arm: str
    seed: int
    hash: str
    settings: tuple[str, ...]
    metrics: dict[str, float]
    curve: tuple[tuple[int, float], ...]
    steps: int
    seconds: float
    threads: int
    versions: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write `folder/ARM/SEED.json`.

        Raises:
            UserError: It cannot be written.
        """
        write_file(folder / self.arm / f"{self.seed}.json", json.dumps(asdict(self), indent=1) + "\n")


def read_results(plan: Plan, folder: Path) -> dict[str, Result]:
    """Return the results of a study by the name of their cell.

    Raises:
        UserError: A file cannot be read, or belongs to other settings than the plan's.
    """
    found = {}
    for cell in plan.cells():
        path = folder / cell.arm / f"{cell.seed}.json"
        if path.is_file():
            found[cell.name] = _read(path, cell)
    return found


def _read(path: Path, cell: Cell) -> Result:
    try:
        content = json.loads(path.read_text())
        content["settings"] = tuple(content["settings"])
        content["curve"] = tuple((int(step), float(value)) for step, value in content["curve"])
        result = Result(**content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is not the result of a run ({error!r}); remove it to run that cell again") from None
    if result.hash != cell.hash:
        changed = sorted(set(result.settings) ^ set(cell.settings))
        raise UserError(
            f"{path}: is the result of other settings than the plan's (they differ in {', '.join(changed)}); "
            "give the changed plan another name, or another folder by out=DIR"
        )
    return result


def read_metrics(run: Path, endpoint: str) -> tuple[dict[str, float], tuple[tuple[int, float], ...]]:
    """Return the last validation's figures and the endpoint's curve from a run's `metrics.csv`.

    Raises:
        UserError: There is no validation with that figure.
    """
    rows: dict[int, dict[str, float]] = {}
    path = run / "metrics.csv"
    if path.is_file():
        with open(path, newline="") as file:
            for line in csv.DictReader(file):
                if line.get(endpoint):
                    values = {key: float(value) for key, value in line.items() if key.startswith("val/") and value}
                    rows[int(line["step"])] = values
    if not rows:
        raise UserError(f"{path}: no validation with {endpoint}; the study's endpoint must be logged by every run")
    curve = tuple((step + 1, values[endpoint]) for step, values in sorted(rows.items()))
    last = {key: value for key, value in rows[max(rows)].items() if math.isfinite(value)}
    return last, curve
