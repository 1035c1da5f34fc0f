"""Summary of a set of runs: groups of runs that differ in their seed only, as tables and a plot."""

from clusterseg.sweeps.summary.figure import summary_figure
from clusterseg.sweeps.summary.group import Group, Spread, Summary, summarise
from clusterseg.sweeps.summary.run import Run, find_runs, read_run
from clusterseg.sweeps.summary.table import print_summary, write_summary

__all__ = [
    "Group",
    "Run",
    "Spread",
    "Summary",
    "find_runs",
    "print_summary",
    "read_run",
    "summarise",
    "summary_figure",
    "write_summary",
]
