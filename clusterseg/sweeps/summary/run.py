"""Read a run from its folder: how it ended, its settings, its scores over the steps."""

from __future__ import annotations

import csv
import glob
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from clusterseg.errors import UserError
from clusterseg.runs.outcome import FILE, read_outcome

METRIC = "val/miou"


@dataclass(frozen=True)
class Run:
    """Outcome, settings and scores of a run.

    Attributes:
        folder: Its folder.
        state: `finished`, `stopped`, `pruned` or `failed` as in its outcome; `unfinished`: still running or killed;
            `not scored`: without a validation; `empty`; `broken`: its files cannot be read.
        message: Details of its state.
        config: The whole configuration.
        written: The configuration with unresolved references, if Hydra ran it.
        choices: The choice in each config group of Hydra, if Hydra ran it.
        curve: Optimiser steps and `METRIC` after each validation, in the order of the steps.
        iou: IoU by class at the best validation.
    """

    folder: Path
    state: str
    message: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    written: dict[str, Any] | None = None
    choices: dict[str, str] | None = None
    curve: tuple[tuple[int, float], ...] = ()
    iou: dict[str, float] = field(default_factory=dict)

    @property
    def best(self) -> float:
        """Highest score of all validations, which is that of `best.ckpt`."""
        return max(score for _, score in self.curve)

    @property
    def last(self) -> float:
        """Score of the last validation."""
        return self.curve[-1][1]


def find_runs(patterns: Sequence[str]) -> list[Path]:
    """Find the run folders in folders, or in all folders that match patterns such as `outputs/*/2026-*`.

    An empty folder counts if a sweep created it: a number as name, beside `multirun.yaml`.

    Raises:
        UserError: Nothing matches, or there is no run.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        folders = [path] if path.is_dir() else [Path(match) for match in glob.glob(str(path), recursive=True)]
        folders = [folder for folder in folders if folder.is_dir()]
        if not folders:
            raise UserError(f"{pattern}: no such folder; give a run, a sweep, or a pattern that matches some")
        for folder in sorted(folders, key=_natural):
            found |= dict.fromkeys(_runs_in(folder))
    if not found:
        raise UserError(f"{', '.join(patterns)}: no run of train.py; a run's folder holds config.yaml and metrics.csv")
    return list(found)


def _runs_in(folder: Path) -> Iterator[Path]:
    if _is_run(folder):
        yield folder
        return
    swept = (folder / "multirun.yaml").is_file()
    for child in sorted(folder.iterdir(), key=_natural):
        if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
            if swept and child.name.isdigit():
                yield child
            else:
                yield from _runs_in(child)


def _is_run(folder: Path) -> bool:
    """Whether a training wrote the folder; other commands have no optimiser in their configuration."""
    if (folder / "metrics.csv").is_file() or (folder / "config.yaml").is_file():
        return True
    try:
        return "optim" in (_read_yaml(folder / ".hydra" / "config.yaml") or {})
    except ValueError:
        return True


def _natural(path: Path) -> tuple[str, int, str]:
    """Sort key of paths in which 10 follows 9."""
    return str(path.parent), int(path.name) if path.name.isdigit() else -1, path.name


def read_run(folder: Path) -> Run:
    """Read the run of a folder; a run that cannot be read is `broken`."""
    try:
        return _read(folder)
    except (OSError, ValueError) as error:
        return Run(folder, "broken", str(error).partition("\n")[0])


def _read(folder: Path) -> Run:
    config = _read_yaml(folder / "config.yaml")
    written = _read_yaml(folder / ".hydra" / "config.yaml")
    hydra = _read_yaml(folder / ".hydra" / "hydra.yaml") or {}
    rows = _read_metrics(folder / "metrics.csv")
    curve = tuple((step + 1, row[METRIC]) for step, row in rows.items())
    state, message = _state(folder, config is None and written is None, bool(curve))
    best = max(rows.values(), key=lambda row: row[METRIC], default={})
    iou = {key.removeprefix("val/iou/"): value for key, value in best.items() if key.startswith("val/iou/")}
    choices = hydra.get("hydra", {}).get("runtime", {}).get("choices")
    return Run(folder, state, message, config or written or {}, written, choices, curve, iou)


def _state(folder: Path, empty: bool, scored: bool) -> tuple[str, str]:
    outcome = read_outcome(folder)
    if outcome is not None and (outcome.state != "finished" or scored):
        return outcome.state, outcome.message
    if outcome is not None:
        return "not scored", "it finished without a validation that has a score"
    if empty and not scored:
        return "empty", "nothing was written"
    return "unfinished", f"still running or killed: there is no {FILE}"


def _read_yaml(path: Path) -> dict[str, Any] | None:
    """Read a YAML file with unresolved references; None if there is no file."""
    if not path.is_file():
        return None
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} holds no settings")
    return {str(key): value for key, value in content.items()}


def _read_metrics(path: Path) -> dict[int, dict[str, float]]:
    """Read the metrics of the scored validations by step; the later of two rows at a step counts."""
    if not path.is_file():
        return {}
    rows: dict[int, dict[str, float]] = {}
    with open(path, newline="") as file:
        try:
            for line in csv.DictReader(file):
                if line.get(METRIC):
                    row = {key: float(value) for key, value in line.items() if key and value}
                    if math.isfinite(row[METRIC]):
                        rows[int(row["step"])] = row
        except (csv.Error, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"metrics.csv cannot be read: {error}") from None
    return dict(sorted(rows.items()))
