"""Tables and a plot of a set of runs: `python -m clusterseg.sweeps.summary DIR_OR_GLOB`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from clusterseg.errors import UserError
from clusterseg.sweeps.summary.group import summarise
from clusterseg.sweeps.summary.run import find_runs
from clusterseg.sweeps.summary.table import print_summary

EXAMPLES = """\
    python -m clusterseg.sweeps.summary outputs/sweeps/2026-01-31_12-00-00
    python -m clusterseg.sweeps.summary 'outputs/spvnas*/2026-02-*' --output comparison

Runs that differ in their seed only are one group. Runs that are not finished are listed and not counted.
Writes summary.csv, summary.json and summary.png."""


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit status, with a one-message error on stderr for a user's mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m clusterseg.sweeps.summary",
        usage="%(prog)s DIR_OR_GLOB... [--output DIR]",
        description="Means, deviations and a plot of val/miou and the IoU of each class, for any set of runs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", nargs="+", metavar="DIR_OR_GLOB", help="a run, a sweep, any folder that holds some")
    parser.add_argument("--output", metavar="DIR", help="where to write; default: the folder that holds all the runs")
    options = parser.parse_args(arguments)
    try:
        output = Path(options.output) if options.output else _common(options.runs)
        print_summary(summarise(options.runs), output)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _common(patterns: Sequence[str]) -> Path:
    """The folder given, or the deepest that holds all the runs."""
    if len(patterns) == 1 and Path(patterns[0]).expanduser().is_dir():
        return Path(patterns[0]).expanduser()
    return Path(os.path.commonpath([folder.absolute().parent for folder in find_runs(patterns)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
