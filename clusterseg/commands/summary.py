"""Summarise a set of runs in tables and a plot: `clusterseg summary DIR_OR_GLOB [...]`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from clusterseg.config.signatures import require
from clusterseg.errors import UserError
from clusterseg.sweeps.summary import find_runs, print_summary, summarise


def summary(config: DictConfig, run_dir: Path) -> None:
    """Print means and deviations over seeds, and write summary.csv, summary.json and summary.png.

    Raises:
        UserError: There is no run, or a file cannot be read or written.
    """
    require(config, output=str | None)
    if not config.runs:
        raise UserError("give a run, a sweep, or any folder that holds some: clusterseg summary DIR_OR_GLOB [...]")
    runs = [str(run) for run in config.runs]
    print_summary(summarise(runs), common_folder(runs) if config.output is None else Path(config.output).expanduser())


def common_folder(patterns: Sequence[str]) -> Path:
    """Return the folder given, or the deepest common folder of all runs."""
    if len(patterns) == 1 and Path(patterns[0]).expanduser().is_dir():
        return Path(patterns[0]).expanduser()
    return Path(os.path.commonpath([folder.absolute().parent for folder in find_runs(patterns)]))
