"""Scores as tables on the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

MEANS = ("miou", "miou_present", "accuracy")


def percent(value: float | None) -> str:
    """A share as percent with two decimals; a dash for None."""
    return "-" if value is None else f"{100 * value:.2f}"


def print_scores(result: dict[str, Any], title: str) -> None:
    """Print IoU per class, overall and by distance, and the means, in percent.

    Args:
        result: What `clusterseg.evaluation.evaluate` returns.
        title: The line above.
    """
    console = Console()
    console.print(title, highlight=False, soft_wrap=True)
    if result["points"]:
        console.print(score_table(result))
        ece = result["calibration"]["ece"]
        console.print(f"expected calibration error {percent(ece)} %", highlight=False)
    console.print(f"{result['points']:,} labelled points in {result['scans']} scans", highlight=False)
    console.print(
        f"{result['latency_ms']['mean']:.0f} ms a scan, peak memory {result['peak_memory_mib']:,.0f} MiB "
        f"({result['device']})",
        highlight=False,
    )


def score_table(result: dict[str, Any]) -> Table:
    """A table with a row per class and mean, a column over all points and one per band of distance."""
    bands = {band: values for band, values in result["distance"].items() if values["points"]}
    table = Table()
    table.add_column("class")
    for column in ("IoU %", *bands):
        table.add_column(column, justify="right")
    for name, iou in result["iou"].items():
        table.add_row(name, percent(iou), *(percent(values["iou"][name]) for values in bands.values()))
    table.add_section()
    for name in MEANS:
        table.add_row(name, percent(result[name]), *(percent(values[name]) for values in bands.values()))
    return table
