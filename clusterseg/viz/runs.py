"""Write the dashboard of runs as one offline page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from clusterseg.errors import UserError
from clusterseg.viz.history import read_history
from clusterseg.viz.pages import write_dashboard

METRICS = "metrics.csv"


def write_runs(sources: Sequence[Path], output: Path | None = None) -> Path:
    """Write the page of one run or of a comparison; a running run is shown up to its last step.

    Args:
        sources: Run folders, their metrics.csv, or folders with runs at any depth.
        output: The .html file; None for `dashboard.html` in the only given folder, else in the current folder.

    Returns:
        The .html file.

    Raises:
        UserError: There is no run, or a file cannot be read or written.
    """
    files = list(dict.fromkeys(path for source in sources for path in find_metrics(source)))
    folders = [path.absolute().parent for path in files]
    above = Path(os.path.commonpath(folders)) if len(files) > 1 else folders[0].parent
    runs = [read_history(path, str(folder.relative_to(above))) for path, folder in zip(files, folders, strict=True)]
    if output is None:
        alone = sources[0] if len(sources) == 1 else Path()
        output = (alone if alone.is_dir() else alone.parent) / "dashboard.html"
    write_dashboard(output, runs, runs[0].name if len(runs) == 1 else f"{len(runs)} runs in {above.name}")
    return output


def find_metrics(source: Path) -> list[Path]:
    """Find the metrics.csv of a run folder, or those of all runs below a folder.

    Raises:
        UserError: There is none.
    """
    if source.is_file():
        return [source]
    if (source / METRICS).is_file():
        return [source / METRICS]
    found = sorted(source.rglob(METRICS)) if source.is_dir() else []
    if not found:
        what = "no metrics.csv in it or below" if source.is_dir() else "no such file or folder"
        raise UserError(f"{source}: {what}; give a run folder of train.py, such as outputs/spvnas/DATE_TIME")
    return found
