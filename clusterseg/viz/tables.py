"""Print scores as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

MEANS = ("miou", "miou_present", "accuracy")


def percent(value: float | None) -> str:
    """Format a share as percent with two decimals; a dash for None."""
    return "-" if value is None else f"{100 * value:.2f}"


def print_scores(result: dict[str, Any], title: str) -> None:
    """Print IoU per class, overall and by distance, and the means, in percent.

    Args:
        result: What `clusterseg.commands.evaluate.evaluate` returns.
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
    """Build a table with a row per class and mean, a column over all points and one per band of distance."""
    bands = {band: values for band, values in result["distance"].items() if values["points"]}
    table = Table()
    table.add_column("class", min_width=max(map(len, [*result["iou"], *MEANS])))
    for column in ("IoU %", *bands):
        table.add_column(column, justify="right")
    for name, iou in result["iou"].items():
        table.add_row(name, percent(iou), *(percent(values["iou"][name]) for values in bands.values()))
    table.add_section()
    for name in MEANS:
        table.add_row(name, percent(result[name]), *(percent(values[name]) for values in bands.values()))
    return table


def difference_rows(
    first: dict[str, Any], second: dict[str, Any]
) -> list[tuple[str, float | None, float | None, float | None]]:
    """Return name, first, second and second - first of each class and mean; None without labels."""
    pairs = [(name, first["iou"][name], second["iou"][name]) for name in first["iou"]]
    pairs += [(name, first[name], second[name]) for name in MEANS]
    return [(name, a, b, None if a is None or b is None else b - a) for name, a, b in pairs]


def print_comparison(names: Sequence[str], results: Sequence[dict[str, Any]]) -> None:
    """Print two evaluations side by side, in percent.

    Args:
        names: Names of the two.
        results: What `clusterseg.commands.evaluate.evaluate` returns for each.
    """
    table = Table()
    table.add_column("class")
    for column in ("A", "B", "B - A"):
        table.add_column(column, justify="right")
    for name, first, second, difference in difference_rows(*results):
        if name == MEANS[0]:
            table.add_section()
        shown = "-" if difference is None else f"{100 * difference:+.2f}"
        table.add_row(name, percent(first), percent(second), shown)
    console = Console()
    for letter, name in zip("AB", names, strict=True):
        console.print(f"{letter}: {name}", highlight=False, soft_wrap=True)
    console.print(table)
