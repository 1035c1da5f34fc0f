"""Write the dashboard of runs as one offline HTML page: `clusterseg dashboard RUN [RUN ...]`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from clusterseg.config.signatures import require
from clusterseg.errors import UserError
from clusterseg.viz.runs import write_runs


def dashboard(config: DictConfig, run_dir: Path) -> Path:
    """Write the dashboard of `config.runs`.

    Returns:
        The .html file.

    Raises:
        UserError: There is no run, or a file cannot be read or written.
    """
    require(config, output=str | None)
    if not config.runs:
        raise UserError("give one run or more: clusterseg dashboard RUN [RUN ...] [output=FILE.html]")
    output = None if config.output is None else Path(config.output).expanduser()
    page = write_runs([Path(str(run)).expanduser() for run in config.runs], output)
    print(f"wrote {page}: open it in a browser")
    return page
