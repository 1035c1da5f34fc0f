"""Studies: arms x seeds from one file, a queue that survives being killed, and a report of paired differences."""

from clusterseg.sweeps.study.plan import Cell, Plan, read_plan
from clusterseg.sweeps.study.queue import run_study
from clusterseg.sweeps.study.report import write_report
from clusterseg.sweeps.study.result import Result, read_results

__all__ = ["Cell", "Plan", "Result", "read_plan", "read_results", "run_study", "write_report"]
