"""Print a summary on the terminal and write it to files."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from clusterseg.files import write_file
from clusterseg.sweeps.summary.figure import summary_figure
from clusterseg.sweeps.summary.group import Group, Spread, Summary
from clusterseg.sweeps.summary.naming import rounded, short_keys
from clusterseg.sweeps.summary.run import METRIC, Run
from clusterseg.viz.figures import png
from clusterseg.viz.tables import percent

SHOWN = 6  # groups side by side in the table by class
WIDTH = 140  # characters, if the output is no terminal


def print_summary(summary: Summary, folder: Path) -> None:
    """Print the tables; write them and the plot into `folder`.

    Raises:
        UserError: A file cannot be written.
    """
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width
        console = Console(width=WIDTH)
    if summary.groups:
        note = "mean ± sample standard deviation of the runs, which differ in their seed"
        console.print(f"{METRIC} in percent at the best and at the last validation:\n{note}", highlight=False)
        console.print(_groups_table(summary.groups, folder))
        if any(group.iou for group in summary.groups):
            console.print(f"IoU in percent by class, at each run's best {METRIC}", highlight=False)
            console.print(_classes_table(summary.groups[:SHOWN]))
        if len(summary.groups) > SHOWN:
            console.print(f"The best {SHOWN} of {len(summary.groups)} groups; summary.csv holds all", highlight=False)
    if summary.others:
        console.print("Not counted:", highlight=False)
        console.print(_others_table(summary.others, folder))
    written = write_summary(summary, folder)
    console.print(f"written: {', '.join(str(path) for path in written)}", highlight=False, soft_wrap=True, markup=False)


def _groups_table(groups: tuple[Group, ...], folder: Path) -> Table:
    short = short_keys(list(dict.fromkeys(key for group in groups for key in group.settings)))
    table = Table()
    table.add_column("#", justify="right")
    for key, name in short.items():
        widest = max(len(rounded(group.settings.get(key, ""))) for group in groups)
        table.add_column(name.replace(".", ".\n"), overflow="fold", min_width=min(widest, 20))
    for column in ("runs", "best", "last", "highest (run)"):
        table.add_column(column, justify="right", no_wrap=True)
    for number, group in enumerate(groups, 1):
        table.add_row(
            str(number),
            *(Text(rounded(group.settings.get(key, ""))) for key in short),
            str(len(group.runs)),
            _shown(group.best),
            _shown(group.last),
            Text(f"{percent(group.top.best)} ({_name(group.top, folder)})"),
        )
    return table


def _classes_table(groups: tuple[Group, ...]) -> Table:
    table = Table("class")
    for number in range(1, len(groups) + 1):
        table.add_column(f"#{number}", justify="right")
    for name in dict.fromkeys(name for group in groups for name in group.iou):
        table.add_row(name, *(_shown(group.iou[name]) if name in group.iou else "-" for group in groups))
    table.add_section()
    table.add_row("mean", *(_shown(group.best) for group in groups))
    return table


def _others_table(runs: tuple[Run, ...], folder: Path) -> Table:
    table = Table("run", "state")
    table.add_column(f"{METRIC} so far", justify="right")
    table.add_column("what is known")
    for run in runs:
        score = percent(run.last if run.curve else None)
        table.add_row(Text(_name(run, folder)), run.state, score, Text(run.message))
    return table


def _shown(spread: Spread) -> str:
    return percent(spread.mean) if spread.std is None else f"{percent(spread.mean)} ± {percent(spread.std)}"


def _name(run: Run, folder: Path) -> str:
    return os.path.relpath(run.folder, folder)


def write_summary(summary: Summary, folder: Path) -> list[Path]:
    """Write `summary.csv` (a line per group), `summary.json` (also each run) and `summary.png`.

    Returns:
        The files.

    Raises:
        UserError: A file cannot be written.
    """
    files: dict[str, str | bytes] = {"summary.json": json.dumps(_content(summary, folder), indent=2) + "\n"}
    if summary.groups:
        files |= {"summary.csv": _csv(summary.groups), "summary.png": png(summary_figure(summary))}
    for name, content in files.items():
        write_file(folder / name, content)
    return [folder / name for name in files]


def _content(summary: Summary, folder: Path) -> dict[str, Any]:
    groups = [
        {
            "group": group.label,
            "settings": group.settings,
            "best": asdict(group.best),
            "last": asdict(group.last),
            "iou": {name: asdict(spread) for name, spread in group.iou.items()},
            "runs": [_run(run, folder) for run in group.runs],
        }
        for group in summary.groups
    ]
    return {"metric": METRIC, "groups": groups, "not_counted": [_run(run, folder) for run in summary.others]}


def _run(run: Run, folder: Path) -> dict[str, Any]:
    scores = {"best": run.best, "last": run.last} if run.curve else {}
    return {"run": _name(run, folder), "state": run.state, "message": run.message, **scores, "iou": run.iou}


def _csv(groups: tuple[Group, ...]) -> str:
    lines = [dict(_line(group)) for group in groups]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def _line(group: Group) -> Iterator[tuple[str, Any]]:
    yield "group", group.label
    yield from group.settings.items()
    yield "runs", len(group.runs)
    spreads = {"best": group.best, "last": group.last}
    for name, spread in (spreads | {f"iou/{name}": iou for name, iou in group.iou.items()}).items():
        yield f"{name}_mean", spread.mean
        yield f"{name}_std", spread.std
    yield "highest", group.top.best
