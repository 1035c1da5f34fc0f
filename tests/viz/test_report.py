"""The report and the comparison, as files and in a headless Chromium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import open_page

from clusterseg.data.label_map import load_label_map
from clusterseg.predict.prediction import PredictedScan
from clusterseg.predict.robustness import PUBLISHED, robustness
from clusterseg.viz.confusion import confusion_figure, write_confusion
from clusterseg.viz.figures import png
from clusterseg.viz.gallery import Gallery
from clusterseg.viz.report import write_comparison, write_report
from clusterseg.viz.robustness import corrupted_figure, robustness_table
from clusterseg.viz.tables import difference_rows

NAMES = load_label_map("semantickitti").class_names


def a_result(seed: int, points: int = 1000) -> dict[str, Any]:
    rng = np.random.default_rng(seed)

    def scores() -> dict[str, Any]:
        iou = rng.random(19).tolist()
        return {"miou": sum(iou) / 19, "miou_present": 0.5, "accuracy": 0.9, "iou": dict(zip(NAMES, iou, strict=True))}

    bands = {band: scores() | {"points": points // 2} for band in ("0-10 m", "10-20 m")}
    bins = {"ece": 0.1, "confidence": [0.25, 0.75], "accuracy": [0.2, 0.9], "points": [points // 2, points // 2]}
    return scores() | {
        "points": points,
        "scans": 3,
        "distance": bands,
        "calibration": bins,
        "latency_ms": {"mean": 12.0, "slowest": 20.0, "scans": 2},
        "peak_memory_mib": 512.0,
        "device": "cpu",
        "tta": "none",
        "checkpoints": ["outputs/<run>/best.ckpt"],
    }


@pytest.mark.parametrize("size", [(1300, 900), (500, 800)])
def test_a_report_shows_every_number_and_asks_nobody(tmp_path: Path, size: tuple[int, int]) -> None:
    result = a_result(0)
    confusion = png(confusion_figure(torch.eye(19, dtype=torch.int64), NAMES))
    write_report(tmp_path / "report.html", "Evaluation on val", result, confusion, {"08/000000": confusion})
    text = (tmp_path / "report.html").read_text()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    for name, iou in result["iou"].items():
        assert cells[cells.index(name) + 1] == f"{100 * iou:.2f}"
    assert "&lt;run&gt;" in text
    shot = open_page(tmp_path / "report.html", tmp_path, size)
    assert shot.requests == []
    assert (shot.image < 0.5).any(), "there is something on it"
    assert (shot.image[:, -3:] > 0.9).all(), "nothing runs out of the window on the right"


def test_without_labels_there_are_no_scores(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", "Evaluation on test", a_result(0, points=0), b"", {})
    assert "<table>" not in (tmp_path / "report.html").read_text()


def test_corruptions(tmp_path: Path) -> None:
    rows = [{"miou": v, "miou_present": v, "accuracy": v, "points": 5} for v in (0.3, 0.2, 0.1)]
    found = robustness(0.4, dict.fromkeys(PUBLISHED.miou, rows), PUBLISHED)
    scan = PredictedScan("08/000000", *scan_of(500))
    drawn = png(corrupted_figure(dict.fromkeys(PUBLISHED.miou, scan), load_label_map("semantickitti").colours))
    result = a_result(3) | {"robustness": found}
    write_report(tmp_path / "report.html", "Evaluation on val", result, drawn, {}, corrupted=drawn)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", (tmp_path / "report.html").read_text())
    start = cells.index("snow")
    ce = 100 * (0.7 + 0.8 + 0.9) / (3 - 0.5550 - 0.5370 - 0.5065)
    assert cells[start : start + 6] == ["snow", "30.00", "20.00", "10.00", f"{ce:.2f}", "50.00"]
    shot = open_page(tmp_path / "report.html", tmp_path, (1100, 2600))
    assert shot.requests == [] and (shot.image[:, -3:] > 0.9).all()
    table = robustness_table(found)
    assert table.row_count == 9 and len(table.columns) == 6


def scan_of(points: int) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    xyz = rng.uniform(-30, 30, (points, 4)).astype(np.float32)
    truth = rng.integers(0, 19, points)
    return xyz, truth, truth, np.ones(points, np.float32)


def test_differences(tmp_path: Path) -> None:
    first, second = a_result(1), a_result(2)
    rows = difference_rows(first, second)
    assert [row[0] for row in rows] == [*NAMES, "miou", "miou_present", "accuracy"]
    assert all(change == pytest.approx(b - a) for _, a, b, change in rows)
    write_comparison(tmp_path / "report.html", "Comparison", ["one", "two"], [first, second])
    text = (tmp_path / "report.html").read_text()
    assert text.count("<tr") == 23
    assert f'class="better">{100 * max(row[3] for row in rows):+.2f}' in text
    assert "<img" not in text


def test_a_comparison_shows_the_scans_that_both_drew(tmp_path: Path) -> None:
    gallery = Gallery(["08/000000", "08/000001"], 2, load_label_map("semantickitti"))
    drawn = [PredictedScan(name, *scan_of(50)) for name in ("08/000000", "08/000001")]
    gallery.write(drawn, tmp_path / "a")
    gallery.write(drawn, tmp_path / "b")
    gallery.write(drawn[1:], tmp_path / "b")  # what was drawn before is of other predictions
    folders = [tmp_path / "a", tmp_path / "b"]
    write_comparison(tmp_path / "report.html", "Comparison", ["one", "two"], [a_result(1), a_result(2)], folders)
    text = (tmp_path / "report.html").read_text()
    assert text.count("<img") == 2 and "08_000001" in text and "08_000000" not in text
    assert 'href="a/report.html"' in text


def test_confusion_rows_are_the_truth(tmp_path: Path) -> None:
    counts = torch.zeros(2, 2, dtype=torch.int64)
    counts[0, 1] = 5
    write_confusion(counts, ["a", "b"], tmp_path)
    assert (tmp_path / "confusion.csv").read_text().split() == ["truth", "\\", "prediction,a,b", "a,0,5", "b,0,0"]
