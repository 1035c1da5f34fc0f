"""The offline dashboard: its content against known tables, and the page in a headless Chromium."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import open_page

from clusterseg.commands.front_door import run
from clusterseg.viz.charts import POINTS, thinned
from clusterseg.viz.history import Series, read_history

HEADER = "epoch,step,train/loss,train/loss_ce,train/loss_point_bank,train/lr,val/iou/car,val/iou/road,val/miou"
ROWS = [
    ",1,,,,0.002,,,",
    "0,1,3.5,3.0,0.5,,,,",
    "0,1,,,,,0.10,0.80,0.45",
    "1,3,2.5,2.25,0.25,,,,",
    "1,3,,,,,0.30,0.90,0.60",
    "2,5,nan,2.0,inf,,,,",
    "2,5,,,,,0.40,0.70,0.55",
]


def write_run(folder: Path, rows: list[str] = ROWS, header: str = HEADER, seed: int = 1) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("\n".join([header, *rows, ""]))
    (folder / "config.yaml").write_text(f"seed: {seed}\nmodel:\n  name: <b>net</b>\n")
    return folder


def page_of(folder: Path, *arguments: str) -> str:
    output = folder / "page.html"
    run("dashboard", [*(arguments or [str(folder)]), f"output={output}"])
    return output.read_text()


def held(page: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(re.findall(r'type="application/json">(.*?)</script>', page, re.S)[0])
    return data


def points(page: str, label: str) -> list[list[float | None]]:
    lines = [line for chart in held(page)["charts"] for line in chart["lines"] if line["label"] == label]
    assert len(lines) == 1
    found: list[list[float | None]] = lines[0]["points"]
    return found


def tiles(page: str) -> dict[str, str]:
    return {label: value for value, label in re.findall(r"<div><b>([^<]*)</b><span>([^<]*)</span>", page)}


def test_one_run(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run"))
    shown = tiles(page)
    assert shown["best val mIoU"] == "60.00 %"
    assert shown["at step"] == "3"
    assert shown["last val mIoU"] == "55.00 %"
    assert shown["last step"] == "5"
    assert points(page, "total") == [[1, 3.5], [3, 2.5], [5, None]]
    assert points(page, "point-bank") == [[1, 0.5], [3, 0.25], [5, None]]
    assert points(page, "Learning rate") == [[1, 0.002]]
    rows = re.findall(r"<tr><td>(car|road|mean)</td>(.*?)</tr>", page)
    cells = {name: re.sub(r"<[^>]+>", " ", row).split() for name, row in rows}
    assert cells["car"] == ["30.00", "40.00", "40.00", "(step", "5)"]
    assert cells["road"] == ["90.00", "70.00", "90.00", "(step", "3)"]
    assert cells["mean"] == ["60.00", "55.00", "60.00", "(step", "3)"]
    assert "&lt;b&gt;net&lt;/b&gt;" in page
    assert "<b>net" not in page


def test_several_runs_share_the_charts(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "deep" / "b", [row.replace("0.60", "0.75") for row in ROWS], seed=2)
    page = page_of(tmp_path)
    data = held(page)
    assert data["runs"] == ["a", "deep/b"]
    (scores,) = [chart for chart in data["charts"] if chart["title"].startswith("Validation")]
    assert [line["run"] for line in scores["lines"]] == [0, 1]
    assert [line["points"][1] for line in scores["lines"]] == [[3, 0.6], [3, 0.75]]
    assert re.findall(r"<td>seed</td><td>(.)</td><td>(.)</td>", page) == [("1", "2")]
    assert "<td>mean</td><td>60.00</td><td><b>75.00</b></td>" in page
    assert "<td>model.name</td>" not in page, "only what differs"


def test_runs_and_files_may_be_named_one_by_one(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a"), write_run(tmp_path / "b")
    write_run(tmp_path / "c")
    assert held(page_of(tmp_path, str(a), str(b / "metrics.csv"), str(a)))["runs"] == ["a", "b"]


def test_columns_that_came_with_a_resume_are_shown(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path / "run", [f"{row}," for row in ROWS] + ["3,7,,,,,,,,8"], f"{HEADER},new/key"))
    assert points(page, "new/key") == [[7, 8]]
    assert held(page)["span"] == [1, 7]


@pytest.mark.parametrize("text", ["", HEADER, HEADER + "\n", HEADER + "\n0,1,2.5"])
def test_a_run_that_has_just_begun(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    page = page_of(tmp_path)
    assert "Nothing has been logged yet" in page
    assert held(page)["charts"] == []


def test_an_unfinished_line_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(f"{HEADER}\n0,1,3.25,,,,,,\n0,3,2.1")
    assert points(page_of(tmp_path), "total") == [[1, 3.25]]


def test_of_two_values_in_a_step_the_later_counts(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,train/loss\n4,1.0\n2,5.0\n4,0.5\nnonsense,3\n6,x\n")
    series = read_history(tmp_path / "metrics.csv", "").series["train/loss"]
    assert series.steps.tolist() == [2, 4]
    assert series.values.tolist() == [5.0, 0.5]


def test_thinning_keeps_the_mean_and_the_extremes() -> None:
    values = np.random.default_rng(0).normal(size=10 * POINTS + 7)
    values[[3, 20, 21]] = math.nan
    line = thinned(Series(np.arange(len(values)), values))
    assert len(line["points"]) == POINTS
    assert line["lost"] == [3, 3]
    assert max(point[3] for point in line["points"]) == pytest.approx(np.nanmax(values), rel=1e-6)
    assert min(point[2] for point in line["points"]) == pytest.approx(np.nanmin(values), rel=1e-6)
    size = line["each"]
    assert line["points"][0][1] == pytest.approx(np.nanmean(values[:size]), rel=1e-6)
    assert line["points"][0][0] == (size - 1) / 2


def test_nothing_is_thinned_that_need_not_be() -> None:
    values = np.arange(POINTS, dtype=np.float64)
    assert thinned(Series(np.arange(POINTS), values))["points"] == [[i, i] for i in range(POINTS)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one run or more"),
        (["nowhere"], "nowhere: no such file or folder; give a run folder"),
        (["."], "no metrics.csv in it or below"),
        (["other.csv"], "other.csv: no column `step`"),
        (["run", "output=other.csv/page.html"], "other.csv/page.html: cannot be written"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    if "run" in arguments:
        write_run(tmp_path / "run")
    with pytest.raises(SystemExit) as exit_:
        run("dashboard", arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("size", [(1300, 1400), (500, 1400)])
def test_the_page_draws_and_asks_nobody(tmp_path: Path, size: tuple[int, int]) -> None:
    run = write_run(tmp_path / "run")
    page = run / "page.html"
    page_of(run)
    shot = open_page(page, tmp_path, size, text=True)
    assert shot.requests == []
    charts = held(page.read_text())["charts"]
    lines = sum(len(chart["lines"]) for chart in charts)
    drawn = shot.text.partition('<script id="data"')[0]
    assert drawn.count('class="line') == lines > 5
    assert drawn.count("<svg") == len(charts)
    assert "1 value is not finite, from step 5." in shot.text
    assert (shot.image[:, -3:] > 0.9).all(), "nothing runs out of the window on the right"
    assert not re.findall(r'(?:src|href)="(?!data:)|url\((?!data:)|https?://|fetch\(', page.read_text())


def test_hovering_tells_the_numbers(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    text = page_of(run)
    hover = (
        "const b = figures[1].querySelector('.plot').getBoundingClientRect();"
        "const at = {clientX: b.left + 0.6 * b.width, clientY: b.top + 50};"
        "figures[1].dispatchEvent(new PointerEvent('pointermove', at));"
    )
    (run / "page.html").write_text(
        text.replace("figures.forEach(furnish);\ndrawAll();", f"figures.forEach(furnish);\ndrawAll(); {{{hover}}}")
    )
    shot = open_page(run / "page.html", tmp_path, (1300, 900), text=True)
    box = re.findall(r'class="read" style=[^>]*>(.*?)</div></div>', shot.text)
    assert [re.sub(r"<[^>]+>", " ", text).split() for text in box] == [["step", "3", "total", "2.5", "ce", "2.25"]]
