"""The dashboard of one run, or a comparison of several, as one offline HTML page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from clusterseg.files import write_file
from clusterseg.viz.history import History
from clusterseg.viz.report import cluster_parts, image
from clusterseg.viz.side_by_side import differences, settings_of
from clusterseg.viz.story import by_class, story
from clusterseg.viz.tables import percent

STEPS_SHOWN = 8  # pictures of a scan; 0.1 to 0.3 MB each
RUNS_SHOWN = 6  # runs whose pictures are shown in a comparison
SMOOTHABLE = 20  # minimum points of a line for smoothing
SMOOTHING = '<label id="smoothing">smoothing <input type="range" min="0" max="0.98" step="0.02" value="0"></label>'


def write_dashboard(path: Path, runs: Sequence[History], title: str) -> None:
    """Write the page; it contains its data and needs no server.

    Args:
        path: The .html file.
        runs: One run, or several to compare.
        title: Its heading.

    Raises:
        UserError: The file cannot be written.
    """
    charts: list[dict[str, Any]] = []
    chapters = {}
    for chapter in story(runs):
        drawn = [chart for spec in chapter.charts for chart in spec.drawn(runs)]
        if drawn:
            note = f'<p class="quiet">{escape(chapter.note)}</p>' if chapter.note else ""
            chapters[chapter.title] = f"<h2>{escape(chapter.title)}</h2>{note}{_places(drawn, len(charts))}"
            charts += drawn
    head = _tiles(runs[0]) if len(runs) == 1 else _run_table(runs)
    if any(len(line["points"]) >= SMOOTHABLE for chart in charts for line in chart["lines"]):
        head += SMOOTHING
    if not charts:
        head += '<p class="quiet">Nothing has been logged yet.</p>'
    chapters["IoU by class"] = chapters.get("IoU by class", "") + _class_table(runs)
    chapters["IoU by class"] += _pictures(runs)
    if len(runs) == 1:
        last = "Subclasses in use"
        chapters[last] = chapters.get(last, "") + "".join(cluster_parts(runs[0].folder))
    body = [f"<h1>{escape(title)}</h1>", head, *chapters.values(), _configuration(runs)]
    data = {"runs": [run.name for run in runs], "charts": charts, "span": _span(runs)}
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    page = (files("clusterseg.viz") / "dashboard.html").read_text(encoding="utf-8")
    for name, value in (("TITLE", escape(title)), ("DATA", text), ("BODY", "\n".join(body))):
        page = page.replace(f"__{name}__", value)
    write_file(path, page)


def _places(drawn: Sequence[dict[str, Any]], first: int) -> str:
    """Return the placeholders of the charts; large charts first, then the small ones."""
    grids = ""
    for small in (False, True):
        figures = [
            f'<figure data-chart="{first + i}"><figcaption>{escape(chart["title"])}</figcaption></figure>'
            for i, chart in enumerate(drawn)
            if chart["small"] is small
        ]
        grids += f'<div class="{"small" if small else "large"}">{"".join(figures)}</div>' if figures else ""
    return grids


def _span(runs: Sequence[History]) -> list[int]:
    """First and last step over all runs, which is the range of every chart."""
    steps = [series.steps[[0, -1]] for run in runs for series in run.series.values()]
    return [int(np.min(steps)), int(np.max(steps))] if steps else [0, 1]


def _facts(run: History) -> dict[str, str]:
    """Return the key figures at the top, by label."""
    score, step = run.series.get("val/miou"), _span([run])[1]
    best = score.best() if score else None
    last = {
        label: shown.format(run.series[key].last)
        for key, label, shown in (
            ("train/scans_per_second", "scans a second", "{:.3g}"),
            ("system/memory_mib", "peak MiB", "{:,.0f}"),
        )
        if key in run.series and math.isfinite(run.series[key].last)
    }
    epochs = run.series.get("epoch")
    return {
        "best val mIoU": "-" if best is None else f"{percent(best[1])} %",
        "at step": "-" if best is None else f"{best[0]:,}",
        "last val mIoU": "-" if score is None else _share(score.last, " %"),
        "last step": f"{step:,}" if run.series else "-",
        "epochs begun": "-" if epochs is None else f"{epochs.last + 1:.0f}",
        **_time(run),
        **last,
    }


def _time(run: History) -> dict[str, str]:
    if "system/hours" not in run.series:
        return {}
    hours = run.series["system/hours"].last
    return {"of training": f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"}


def _share(value: float, unit: str = "") -> str:
    return f"{percent(value)}{unit}" if math.isfinite(value) else "-"


def _tiles(run: History) -> str:
    shown = "".join(f"<div><b>{value}</b><span>{escape(label)}</span></div>" for label, value in _facts(run).items())
    return f'<p class="quiet">{escape(str(run.folder))}</p><div class="tiles">{shown}</div>'


def _run_table(runs: Sequence[History]) -> str:
    """Return the table of the key figures of each run, which is also the legend of the charts."""
    facts = [_facts(run) for run in runs]
    labels = list(dict.fromkeys(label for fact in facts for label in fact))
    rows = [
        [f'<button data-run="{i}" aria-pressed="true"><i></i>{escape(run.name)}</button>']
        + [fact.get(label, "-") for label in labels]
        for i, (run, fact) in enumerate(zip(runs, facts, strict=True))
    ]
    return table(["run", *map(escape, labels)], rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a scrollable HTML table; cells are HTML."""
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _class_table(runs: Sequence[History]) -> str:
    """Return the IoU of each class at the best mean, and for a single run also its last and its own best value."""
    keys = by_class({key for run in runs for key in run.series}, "val/iou/")
    bests = [run.series["val/miou"].best() if "val/miou" in run.series else None for run in runs]
    if not keys or not any(bests):
        return ""
    rows = []
    for key in [*keys, "val/miou"]:
        name = "mean" if key == "val/miou" else key.removeprefix("val/iou/")
        series = [run.series.get(key) for run in runs]
        values = [s.at(b[0]) if s and b else math.nan for s, b in zip(series, bests, strict=True)]
        cells = [_bar(value) for value in values] if len(runs) == 1 else _compared(values)
        if len(runs) == 1 and series[0]:
            own = series[0].best()
            cells += [_share(series[0].last), "-" if own is None else f"{percent(own[1])} (step {own[0]:,})"]
        rows.append([escape(name), *cells])
    if len(runs) == 1:
        heads = ["class", f"at step {bests[0][0]:,}, best mIoU" if bests[0] else "-", "last", "best of the class"]
    else:
        heads = ["class", *(escape(run.name) for run in runs)]
    note = "IoU in %" if len(runs) == 1 else "IoU in %, each run where its mIoU was best; the highest in bold"
    return f'<p class="quiet">{note}</p>{table(heads, rows)}'


def _bar(value: float) -> str:
    return f'<span class="bar" style="--share-of:{100 * np.nan_to_num(value):.1f}%">{_share(value)}</span>'


def _compared(values: Sequence[float]) -> list[str]:
    top = max((value for value in values if math.isfinite(value)), default=math.nan)
    return [f"<b>{_share(value)}</b>" if value == top and top > 0 else _share(value) for value in values]


def _pictures(runs: Sequence[History]) -> str:
    """Return the bird's-eye pictures at some steps of one run, or at the last step of several."""
    shown = []
    for run in runs[:RUNS_SHOWN]:
        for folder in sorted(path for path in (run.folder / "pictures").glob("*") if path.is_dir()):
            every = sorted(folder.glob("step_*.png"))
            rows = np.linspace(0, len(every) - 1, min(len(every), STEPS_SHOWN)).round().astype(int)
            chosen = [every[i] for i in rows] if len(runs) == 1 else every[-1:]
            if chosen:
                scan = re.sub(r"^(\d+)_(\d+)$", r"\1/\2", folder.name)  # as SemanticKITTI has it
                name = scan + ("" if len(runs) == 1 else f", {run.name}")
                shown.append(_scan(name, chosen, len(every)))
    if not shown:
        return ""
    more = f" of the first {RUNS_SHOWN} runs" if len(runs) > RUNS_SHOWN else ""
    note = f"Validation scans{more} from above, x (forward) upwards, 100 m wide. Error: red is wrong."
    return f'<h2>Scans</h2><p class="quiet">{note}</p>{"".join(shown)}'


def _scan(name: str, pictures: Sequence[Path], count: int) -> str:
    steps = [int(path.stem.removeprefix("step_")) for path in pictures]
    images = "".join(
        image(path.read_bytes(), f"scan {name} at step {step}") for path, step in zip(pictures, steps, strict=True)
    )
    some = f", {len(pictures)} of {count} shown" if 1 < len(pictures) < count else ""
    slider = (
        f'<input type="range" min="0" max="{len(steps) - 1}" value="{len(steps) - 1}" aria-label="step">'
        if len(steps) > 1
        else ""
    )
    note = f"scan {escape(name)}, <output>step {steps[-1]:,}</output>{some}"
    caption = f"<figcaption><span>{note}</span>{slider}</figcaption>"
    return f'<figure class="scan" data-steps="{json.dumps(steps)}">{caption}<div class="wide">{images}</div></figure>'


def _configuration(runs: Sequence[History]) -> str:
    """Return the differing settings of the runs, and each configuration, collapsed."""
    paths = [(run, run.folder / "config.yaml") for run in runs]
    texts = {run.name: path.read_text(encoding="utf-8", errors="replace") for run, path in paths if path.is_file()}
    if not texts:
        return ""
    different = differences({name: settings_of(text) for name, text in texts.items()})
    rows = [[escape(key), *(escape(value) for value in values)] for key, values in different.items()]
    parts = [table(["what differs", *map(escape, texts)], rows)] if rows else []
    parts += [
        f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>" for name, text in texts.items()
    ]
    return f"<h2>Configuration</h2>{''.join(parts)}"
