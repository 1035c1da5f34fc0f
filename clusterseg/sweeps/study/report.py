"""The report of a study: a Markdown table, a forest plot, and one page of HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from clusterseg.files import write_file
from clusterseg.sweeps.study.comparison import Arm, Pair, compare, compare_pairs
from clusterseg.sweeps.study.plan import Plan
from clusterseg.sweeps.study.result import Result
from clusterseg.sweeps.study.statistics import Paired
from clusterseg.viz.figures import png
from clusterseg.viz.report import image, write_page

Table = tuple[list[str], list[list[str]]]


def write_report(plan: Plan, results: Mapping[str, Result], folder: Path) -> list[Path]:
    """Write `report.md`, `forest.png` and `report.html` into a folder.

    Raises:
        UserError: A file cannot be written, or scipy is missing.
    """
    arms = compare(plan, results)
    picture = png(forest(plan, arms))
    tables = {
        f"{plan.endpoint} of the last validation, %": main_table(plan, arms),
        "Arms against each other, differences in points": pair_table(compare_pairs(plan, results)),
        f"Further figures, differences to {plan.baseline} in points": further_table(arms),
        "IoU by class, differences in points (p by Holm over the classes of an arm)": class_table(arms),
    }
    tables = {title: table for title, table in tables.items() if table[1]}
    paths = [folder / "report.md", folder / "forest.png", folder / "report.html"]
    write_file(paths[0], markdown(plan, arms, tables))
    write_file(paths[1], picture)
    write_page(paths[2], f"Study: {plan.name}", _body(plan, arms, tables, picture))
    return paths


def main_table(plan: Plan, arms: Sequence[Arm]) -> Table:
    """Build the table of the endpoint: a row per arm."""
    head = ["arm", "seeds", "mean", "sd", f"- {plan.baseline}", "95 % interval", "p", "correlation", "detectable"]
    rows = []
    for arm in arms:
        pair = arm.against
        row = [arm.name, str(arm.runs), _points(arm.mean), _points(arm.std)]
        if pair is None:
            row += ["-"] * 5
        else:
            row += [_signed(pair.mean), _interval(pair), _probability(pair.p)]
            row += [_number(pair.correlation, 2), _points(pair.detectable)]
        rows.append([*row, _signed(arm.late_gain), _number(arm.cost, 2)])
    return [*head, "gain in last fifth", "wall time"], rows


def pair_table(pairs: Sequence[Pair]) -> Table:
    """Build the table of the arms that are compared with each other: a row per pair, columns per figure."""
    figures = list(dict.fromkeys(name for pair in pairs for name in pair.figures))
    head = ["arms", *(title for name in figures for title in (name.removeprefix("val/"), "95 % interval", "p"))]
    rows = []
    for pair in pairs:
        row = [f"{pair.arm} - {pair.other}"]
        for name in figures:
            found = pair.figures.get(name)
            row += ["-"] * 3 if found is None else [_signed(found.mean), _interval(found), _probability(found.p)]
        rows.append(row)
    return head, rows


def further_table(arms: Sequence[Arm]) -> Table:
    """Build the table of the further metrics: a row per metric, a column per arm."""
    others = [arm for arm in arms if arm.others]
    keys = list(dict.fromkeys(key for arm in others for key in arm.others))
    rows = [[key.removeprefix("val/"), *(_with_interval(arm.others.get(key)) for arm in others)] for key in keys]
    return ["figure", *(arm.name for arm in others)], rows


def class_table(arms: Sequence[Arm]) -> Table:
    """Build the table of the classes: a row per class, a column per arm."""
    others = [arm for arm in arms if arm.classes]
    names = list(dict.fromkeys(name for arm in others for name in arm.classes))
    rows = []
    for name in names:
        cells = []
        for arm in others:
            p = arm.adjusted.get(name)
            cells.append(_signed(arm.classes[name].mean) + (f" (p {p:.2f})" if p is not None else ""))
        rows.append([name, *cells])
    return ["class", *(arm.name for arm in others)], rows


def forest(plan: Plan, arms: Sequence[Arm]) -> Figure:
    """Draw the difference of each arm to the baseline with its 95 % interval, and the runs' own differences."""
    others = [arm for arm in arms if arm.against is not None]
    figure = Figure(figsize=(7.5, 1.6 + 0.42 * max(1, len(others))), layout="constrained")
    axes = figure.add_subplot()
    for height, arm in enumerate(others):
        pair = arm.against
        assert pair is not None
        low, high = (pair.mean, pair.mean) if pair.low is None or pair.high is None else (pair.low, pair.high)
        clear = low > 0 or high < 0
        colour = "#1f6f43" if clear and low > 0 else "#a3282d" if clear else "#4a5568"
        axes.plot([100 * low, 100 * high], [height, height], color=colour, linewidth=2)
        axes.plot(100 * pair.mean, height, "o", color=colour, markersize=7)
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set_yticks(range(len(others)), [f"{arm.name} ({arm.against.pairs})" for arm in others if arm.against])
    axes.set_ylim(max(1, len(others)) - 0.5, -0.5)
    axes.set_xlabel(f"{plan.endpoint} minus {plan.baseline}, points: mean and 95 % interval over (seeds)")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def markdown(plan: Plan, arms: Sequence[Arm], tables: Mapping[str, Table]) -> str:
    """Write the report as Markdown."""
    lines = [f"# Study: {plan.name}", "", plan.question, "", *_facts(plan, arms), ""]
    for title, (head, rows) in tables.items():
        lines += [f"## {title}", "", _line(head), _line(["---"] + ["---:"] * (len(head) - 1)), *map(_line, rows), ""]
    return "\n".join([*lines, "![forest plot](forest.png)", ""])


def _facts(plan: Plan, arms: Sequence[Arm]) -> list[str]:
    done, planned = sum(arm.runs for arm in arms), len(plan.arms) * len(plan.seeds)
    state = "All runs finished" if done == planned else f"{done} of {planned} runs finished: not complete"
    return [
        f"Endpoint: {plan.endpoint} of the last validation. Baseline: {plan.baseline}. {state}.",
        "",
        f"Command: `clusterseg study run {plan.given}`, then `clusterseg study report {plan.given}`.",
        "",
        f"Common settings: {_settings(plan.common) or 'none'}.",
        "",
        *(f"- {name}: {_settings(settings) or 'nothing'}" for name, settings in plan.arms.items()),
        *(f"- seed {seed}: {_settings(settings)}" for seed, settings in plan.by_seed.items()),
        "",
        "Intervals: Student's t over the paired differences of seeds. Detectable: the true difference that these seeds "
        "would find with 80 % power at 5 %. Wall time: mean ratio to the baseline's runs, on whatever else ran.",
    ]


def _settings(settings: Sequence[str]) -> str:
    return " ".join(f"`{setting}`" for setting in settings)


def _body(plan: Plan, arms: Sequence[Arm], tables: Mapping[str, Table], picture: bytes) -> list[str]:
    body = [f"<h1>Study: {escape(plan.name)}</h1><p>{escape(plan.question)}</p>"]
    body += [f'<p class="quiet">{escape(fact)}</p>' for fact in _facts(plan, arms) if fact]
    body.append(image(picture, "forest plot"))
    for title, (head, rows) in tables.items():
        heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
        body.append(f'<h2>{escape(title)}</h2><div class="wide">{table}</div>')
    return body


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.2f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _probability(value: float | None) -> str:
    return "< 0.001" if value is not None and value < 0.001 else _number(value, 3)


def _interval(pair: Paired | None) -> str:
    return "-" if pair is None or pair.low is None else f"{_signed(pair.low)} to {_signed(pair.high)}"


def _with_interval(pair: Paired | None) -> str:
    return "-" if pair is None else f"{_signed(pair.mean)} ({_interval(pair)})"
