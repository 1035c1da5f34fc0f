"""What a set of runs comes to: groups of runs that differ in their seed only, as tables and a plot."""

from clusterseg.summary.figure import summary_figure
from clusterseg.summary.group import Group, Spread, Summary, summarise
from clusterseg.summary.run import Run, find_runs, read_run
from clusterseg.summary.table import print_summary, write_summary

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
