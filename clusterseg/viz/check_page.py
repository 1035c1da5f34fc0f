"""The page of `clusterseg check`: findings, classes, figures and pictures of a data set, as one offline HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from clusterseg.doctor.finding import Finding
from clusterseg.doctor.survey import Survey
from clusterseg.files import write_file
from clusterseg.viz.check_figures import class_figure, remission_figure, size_figure
from clusterseg.viz.check_screen import SPREADS, spread_text
from clusterseg.viz.figures import png
from clusterseg.viz.pages import table
from clusterseg.viz.report import image

_ROWS = 200  # findings on the page; check.json has all
_FILES = 20  # files that are named of each


def write_check(
    path: Path,
    record: dict[str, Any],
    findings: Sequence[Finding],
    survey: Survey,
    pictures: Mapping[str, bytes],
    title: str,
) -> None:
    """Write the page.

    Args:
        path: The .html file.
        record: What `clusterseg.doctor.diagnosis.record` returns.
        findings: The findings, in order.
        survey: The figures of all scans.
        pictures: PNG of some scans, by caption.
        title: Its heading.

    Raises:
        UserError: The file cannot be written.
    """
    shown = "".join(f'<p class="quiet">{escape(name)}</p>{image(data, name)}' for name, data in pictures.items())
    body = [
        f"<h1>{escape(title)}</h1>{_tiles(record)}",
        f"<h2>Findings</h2>{_findings(findings)}",
        f"<h2>Splits</h2>{_splits(record)}",
        f"<h2>Classes</h2>{_classes(record)}",
        f"<h2>Scans</h2>{_figures(survey)}",
        f"<h2>Settings</h2>{_settings(record)}",
        f'<h2>Some scans</h2><p class="quiet">From above, x (forward) upwards, 100 m wide.</p>{shown}' if shown else "",
    ]
    page = (files("clusterseg.viz") / "report.html").read_text(encoding="utf-8")
    write_file(path, page.replace("__TITLE__", escape(title)).replace("__BODY__", "\n".join(body)))


def _tiles(record: dict[str, Any]) -> str:
    scans = sum(figures["scans"] for figures in record["splits"].values())
    values = {"faults": record["faults"], "warnings": record["warnings"], "scans": scans}
    shown = "".join(f"<div><b>{value:,}</b><span>{label}</span></div>" for label, value in values.items())
    return f'<div class="tiles">{shown}</div>'


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>Nothing wrong was found.</p>"
    items = "".join(_item(finding) for finding in findings[:_ROWS])
    rest = len(findings) - _ROWS
    return items + (f'<p class="quiet">and {rest:,} more in check.json</p>' if rest > 0 else "")


def _item(finding: Finding) -> str:
    mark = ' class="worse"' if finding.severity.value == "fault" else ""
    named = "<br>".join(escape(file) for file in finding.files[:_FILES])
    rest = len(finding.files) - _FILES
    more = f"<br>and {rest:,} more" if rest > 0 else ""
    listed = f"<details><summary>{len(finding.files):,} concerned</summary>{named}{more}</details>" if named else ""
    advice = f"Expected: {finding.expected}. Remedy: {finding.remedy}."
    heading = f"<b{mark}>{finding.severity.value}: {escape(finding.check)}.</b>"
    return f'<p>{heading} {escape(finding.got)}. <span class="quiet">{escape(advice)}</span></p>{listed}'


def _splits(record: dict[str, Any]) -> str:
    heads = ["split", "scans", "cannot be read", "labelled", "points", "voxels", "reach, m", "remission"]
    rows = [
        [escape(split), *(f"{figures[name]:,}" for name in ("scans", "unreadable", "labelled"))]
        + [spread_text(figures[name], form) for name, form in SPREADS.items()]
        for split, figures in record["splits"].items()
    ]
    note = "Minimum, median and maximum over the scans; reach: 99 % of a scan's points are nearer."
    return f'<p class="quiet">{note}</p>{table(heads, rows)}'


def _classes(record: dict[str, Any]) -> str:
    splits = list(record["splits"])
    totals = {split: sum(points[split] for points in record["classes"].values()) for split in splits}
    rows = []
    for name, points in record["classes"].items():
        shares = [100 * points[split] / max(totals[split], 1) for split in splits]
        cells = [f"{points[split]:,} ({share:.2f} %)" for split, share in zip(splits, shares, strict=True)]
        rows.append([escape(name), *cells])
    figure = image(png(class_figure(record)), "points by class") if any(totals.values()) else ""
    return figure + table(["class", *map(escape, splits)], rows)


def _figures(survey: Survey) -> str:
    if not survey.read:
        return '<p class="quiet">No scan could be read.</p>'
    shown = image(png(size_figure(survey)), "points and voxels of each scan")
    if any(facts.remission is not None for facts in survey.read):
        shown += image(png(remission_figure(survey)), "remission of each scan")
    return f'<div class="figures">{shown}</div>'


def _settings(record: dict[str, Any]) -> str:
    suggested, settings, cap = record["suggested"], record["settings"], record["cap"]
    rows = [[f"data.{name}", str(settings[name]), str(suggested[name] or "-")] for name in suggested]
    density = [[edge, f"{value:.2f}"] for edge, value in record["points_per_voxel"].items()]
    notes = (
        f"The present max_voxels cuts {100 * cap['scans']:.1f} % of the training scans, and drops "
        f"{100 * cap['voxels']:.1f} % of their voxels; the suggested one leaves 95 % of the scans whole, at the "
        "present voxel size.",
        "At the suggested voxel_size a scan has about as many points per voxel as one of SemanticKITTI at 5 cm (1.36).",
    )
    quiet = "".join(f'<p class="quiet">{note}</p>' for note in notes)
    return table(["setting", "now", "suggested"], rows) + quiet + table(["voxel size, m", "points per voxel"], density)
