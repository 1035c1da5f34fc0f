"""The report of an evaluation as one offline HTML page."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from clusterseg.files import write_file
from clusterseg.viz.figures import distance_figure, png, reliability_figure
from clusterseg.viz.robustness import robustness_figure, robustness_html
from clusterseg.viz.tables import MEANS, difference_rows, percent

_MEANS = {"miou": "mIoU, all classes", "miou_present": "mIoU, classes present", "accuracy": "accuracy"}


def write_report(
    path: Path,
    title: str,
    result: dict[str, Any],
    confusion: bytes,
    pictures: Mapping[str, bytes],
    training_run: Path | None = None,
    corrupted: bytes | None = None,
) -> None:
    """Write the report of one evaluation.

    Args:
        path: The .html file.
        title: Its heading.
        result: What `clusterseg.commands.evaluate.evaluate` returns.
        confusion: PNG of the confusion matrix.
        pictures: PNG of some scans, by scan.
        training_run: Run folder of the training; its report on the clusters is included if it exists.
        corrupted: PNG of a scan under each corruption.

    Raises:
        UserError: The file cannot be written.
    """
    body = [_heading(title, result)]
    if result["points"]:
        plots = image(png(distance_figure(result)), "scores by distance")
        plots += image(png(reliability_figure(result)), "reliability")
        body += [
            "<h2>IoU by class and distance, %</h2>" + _score_table(result),
            f'<h2>Distance and calibration</h2><div class="figures">{plots}</div>',
            "<h2>Confusion matrix</h2>" + image(confusion, "confusion matrix"),
        ]
    if "robustness" in result:
        found = result["robustness"]
        body.append("<h2>Under corruptions</h2>" + robustness_html(found))
        body.append(image(png(robustness_figure(found)), "mIoU under corruptions"))
    if corrupted is not None:
        body.append(
            "<h3>A scan as it is, and under the heaviest of each; ignored points are grey</h3>"
            + image(corrupted, "a scan under each corruption")
        )
    if pictures:
        shown = "".join(image(picture, f"scan {name}") for name, picture in pictures.items())
        body.append(
            f'<h2>Some scans</h2><p class="quiet">In three dimensions: viewer.html beside this file.</p>{shown}'
        )
    if training_run is not None:
        body += cluster_parts(training_run)
    write_page(path, title, body)


def cluster_parts(run: Path) -> list[str]:
    """Return the training's report on its clusters: the picture, and the agreement with known subclasses if any."""
    picture, table = run / "clusters.png", run / "clusters.json"
    parts = [image(picture.read_bytes(), "cluster centres and subclasses")] if picture.is_file() else []
    if table.is_file():
        heads = "".join(
            f"<th>{head}</th>" for head in ("class", "information", "adjusted Rand index", "purity", "of one", "points")
        )
        columns = ("beyond", "ari", "purity", "purity_of_one")
        rows = "".join(
            f"<tr><td>{escape(name)}</td>"
            + "".join(f"<td>{row.get(key, math.nan):.3f}</td>" for key in columns)
            + f"<td>{row['points']:,}</td></tr>"
            for name, row in json.loads(table.read_text()).items()
        )
        parts.append(f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>')
    note = (
        '<p class="quiet">Subclasses of the training against the known ones. Information: the share known about them, '
        "less that about the same subclasses permuted over things. Of one: a single cluster's purity.</p>"
    )
    return ["<h2>Clusters of the training</h2>" + note + "".join(parts)] if parts else []


def write_comparison(
    path: Path, title: str, names: Sequence[str], results: Sequence[dict[str, Any]], folders: Sequence[Path] = ()
) -> None:
    """Write the table of two evaluations side by side, and below it how both drew the same scans.

    Args:
        path: The .html file.
        title: Its heading.
        names: Names of the two.
        results: What `clusterseg.commands.evaluate.evaluate` returns for each.
        folders: The folders of the two, beside `path`: their pictures are shown and their reports linked.

    Raises:
        UserError: The file cannot be written.
    """
    rows = []
    for name, first, second, difference in difference_rows(*results):
        sign = "" if difference is None else "better" if difference > 0 else "worse" if difference < 0 else ""
        cells = [escape(name), percent(first), percent(second)]
        shown = "-" if difference is None else f"{100 * difference:+.2f}"
        mean = ' class="mean"' if name in MEANS else ""
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr{mean}>{row}<td class="{sign}">{shown}</td></tr>')
    heads = "".join(f"<th>{escape(head)}</th>" for head in ("class", "A", "B", "B - A"))
    legend = "".join(f"<p>{letter}: {escape(name)}</p>" for letter, name in zip("AB", names, strict=True))
    links = [f'<a href="{escape(folder.name)}/report.html">report of {"AB"[i]}</a>' for i, folder in enumerate(folders)]
    legend += f"<p>{', '.join(links)}</p>" if links else ""
    table = f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    write_page(path, title, [f"<h1>{escape(title)}</h1>{legend}<h2>IoU, %</h2>{table}", *_side_by_side(folders)])


def _side_by_side(folders: Sequence[Path]) -> Iterator[str]:
    """The pictures that both folders hold, those of one scan together."""
    if not folders:
        return
    for drawn in sorted((folders[0] / "bev").glob("*.png")):
        both = [folder / "bev" / drawn.name for folder in folders]
        if all(picture.is_file() for picture in both):
            yield f"<h2>{escape(drawn.stem)}</h2>"
            for letter, picture in zip("AB", both, strict=True):
                yield f"<h3>{letter}</h3>{image(picture.read_bytes(), f'{drawn.stem} by {letter}')}"


def write_page(path: Path, title: str, body: Sequence[str]) -> None:
    """Write a page of parts in the style of the report.

    Raises:
        UserError: The file cannot be written.
    """
    page = (files("clusterseg.viz") / "report.html").read_text(encoding="utf-8")
    write_file(path, page.replace("__TITLE__", escape(title)).replace("__BODY__", "\n".join(body)))


def _heading(title: str, result: dict[str, Any]) -> str:
    tiles = {label: f"{percent(result[name])} %" for name, label in _MEANS.items() if result["points"]}
    tiles |= {
        "a scan": f"{result['latency_ms']['mean']:,.0f} ms",
        "peak memory": f"{result['peak_memory_mib']:,.0f} MiB",
    }
    shown = "".join(f"<div><b>{value}</b><span>{escape(label)}</span></div>" for label, value in tiles.items())
    facts = [
        f"{result['points']:,} labelled points in {result['scans']:,} scans",
        f"on {result['device']}",
        f"test-time augmentation: {result['tta']}",
    ]
    checkpoints = "".join(f'<p class="quiet">{escape(path)}</p>' for path in result["checkpoints"])
    return f'<h1>{escape(title)}</h1><p>{escape("; ".join(facts))}</p>{checkpoints}<div class="tiles">{shown}</div>'


def _score_table(result: dict[str, Any]) -> str:
    bands = {band: values for band, values in result["distance"].items() if values["points"]}
    heads = "".join(f"<th>{escape(head)}</th>" for head in ("class", "all", *bands))
    rows = [
        _row(name, iou, [values["iou"][name] for values in bands.values()], "") for name, iou in result["iou"].items()
    ]
    rows += [_row(_MEANS[n], result[n], [values[n] for values in bands.values()], ' class="mean"') for n in MEANS]
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(name: str, whole: float, parts: Sequence[float], attributes: str) -> str:
    bar = f'<td class="bar" style="--share:{100 * whole:.1f}%">{percent(whole)}</td>'
    cells = "".join(f"<td>{percent(part)}</td>" for part in parts)
    return f"<tr{attributes}><td>{escape(name)}</td>{bar}{cells}</tr>"


def image(picture: bytes, description: str) -> str:
    """Embed a PNG in the page."""
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
