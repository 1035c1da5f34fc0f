"""The result of `clusterseg check` on one screen of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clusterseg.doctor.finding import Finding, Severity

_LINES = 3  # findings of one check that are shown
_COLOURS = {Severity.FAULT: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


def print_check(record: dict[str, Any], findings: Sequence[Finding], page: Path | None) -> None:
    """Print splits, classes, findings and suggestions.

    Args:
        record: What `clusterseg.doctor.diagnosis.record` returns.
        findings: The findings, in order.
        page: The page with everything, or None.
    """
    console = Console()
    if record["splits"]:
        console.print(split_table(record))
        console.print(class_table(record))
    for line in finding_lines(findings):
        console.print(line, highlight=False, markup=True, soft_wrap=True)
    for line in suggestion_lines(record):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if page is not None:
        console.print(f"all of it, with pictures: {page}", highlight=False, markup=False, soft_wrap=True)


def split_table(record: dict[str, Any]) -> Table:
    """Build the table of the splits: minimum/median/maximum over their scans."""
    splits = record["splits"]
    table = Table()
    table.add_column("split")
    for split in splits:
        table.add_column(split, justify="right")
    for name in ("scans", "labelled"):
        table.add_row(name, *(f"{figures[name]:,}" for figures in splits.values()))
    for name, form in SPREADS.items():
        table.add_row(
            "reach, m" if name == "reach" else name, *(spread_text(figures[name], form) for figures in splits.values())
        )
    table.caption = "minimum/median/maximum over the scans"
    return table


SPREADS = {"points": "{:,.0f}", "voxels": "{:,.0f}", "reach": "{:.3g}", "remission": "{:.3g}"}


def spread_text(values: Sequence[float] | None, form: str) -> str:
    """Format minimum, median and maximum; a dash for None."""
    return "-" if values is None else "/".join(form.format(value) for value in values)


def class_table(record: dict[str, Any]) -> Table:
    """Build the table of points by class and split."""
    table = Table()
    table.add_column("points")
    for split in record["splits"]:
        table.add_column(split, justify="right")
    for name, points in record["classes"].items():
        table.add_row(name, *(f"{value:,}" for value in points.values()))
    return table


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """Return a line per finding with the markup of rich; of one check only the first few."""
    lines, shown = [], dict.fromkeys((finding.check for finding in findings), 0)
    for finding in findings:
        shown[finding.check] += 1
        if shown[finding.check] <= _LINES:
            colour, where = _COLOURS[finding.severity], finding.where()
            text = finding.got if where in finding.got or not where else f"{finding.got} ({where})"
            said = escape(f"{finding.check}: {text}; {finding.remedy}")
            lines.append(f"[{colour}]{finding.severity.value}[/] {said}")
    lines += [f"... and {number - _LINES:,} more: {check}" for check, number in shown.items() if number > _LINES]
    return lines or ["[green]nothing wrong was found[/]"]


def suggestion_lines(record: dict[str, Any]) -> list[str]:
    """Return the suggested settings beside the present ones, where these differ; a cap that cuts nothing is fine."""
    suggested, settings = record["suggested"], record["settings"]
    cuts = record["cap"]["scans"] > 0
    pairs = [
        f"data.{name}={suggested[name]} (now {settings[name]})"
        for name, worth in (("max_voxels", cuts), ("voxel_size", True))
        if worth and suggested[name] not in (None, settings[name])
    ]
    return [f"suggested: {', '.join(pairs)}"] if pairs else []
