"""The HTML pages in a headless Chromium, narrow and wide."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from browser import open_page

from clusterseg.data.label_map import IGNORE_INDEX, load_label_map
from clusterseg.viz.scene_page import ViewedScan, write_viewer

MAP = load_label_map("semantickitti")
SIZES = [(1300, 800), (500, 800)]
ROAD, CAR = 8, 0


@pytest.fixture
def scan() -> ViewedScan:
    """120,000 points of road, a quarter of them a car on it, some unlabelled."""
    rng = np.random.default_rng(0)
    xyz = np.c_[rng.uniform(-25, 25, (120_000, 2)), np.full(120_000, -1.7)]
    truth = np.full(120_000, ROAD)
    truth[:30_000], xyz[:30_000] = CAR, rng.uniform(-1, 1, (30_000, 3)) * [6, 6, 1]
    prediction = truth.copy()
    prediction[:3000] = ROAD
    truth[-1000:] = IGNORE_INDEX
    xyz[-1, 0] = np.nan
    return ViewedScan("08/<b>000000</b>", xyz.astype(np.float32), truth, prediction, truth % 3)


def share_of(image: np.ndarray, colour: np.ndarray) -> float:
    return float((np.abs(image - colour / 255) < 0.02).all(-1).mean())


@pytest.mark.parametrize("size", SIZES)
def test_the_viewer_draws_and_asks_nobody(tmp_path: Path, scan: ViewedScan, size: tuple[int, int]) -> None:
    write_viewer(tmp_path / "viewer.html", [scan], MAP.class_names, MAP.colours)
    shot = open_page(tmp_path / "viewer.html", tmp_path, size, text=True)
    assert shot.requests == []
    assert share_of(shot.image, MAP.colours[ROAD]) > 0.04
    assert share_of(shot.image, MAP.colours[CAR]) > 0.004
    legend = re.findall(r'data-part="(\d+)".*?<span>([^<]+)</span>', shot.text)
    assert legend == [(str(CAR), "car"), (str(ROAD), "road")]
    modes = re.findall(r'data-mode="(\w+)"', shot.text)
    assert modes == ["truth", "prediction", "error", "subclass", "distance", "height"]
    assert "<b>000000</b>" not in shot.text


@pytest.mark.parametrize(
    ("act", "gone", "stays"),
    [
        ("document.querySelector('[data-part=\"8\"]').click()", MAP.colours[ROAD], MAP.colours[CAR]),
        ("document.querySelector('[data-mode=error]').click()", MAP.colours[ROAD], np.array([120, 130, 148])),
        ("document.getElementById('none').click()", MAP.colours[ROAD], None),
    ],
)
def test_legend_and_colours_work(
    tmp_path: Path, scan: ViewedScan, act: str, gone: np.ndarray, stays: np.ndarray | None
) -> None:
    path = tmp_path / "viewer.html"
    write_viewer(path, [scan], MAP.class_names, MAP.colours)
    path.write_text(path.read_text().replace("if (DATA.scans.length) load(0);", f"load(0); {act};"))
    canvas = open_page(path, tmp_path, SIZES[0]).image[:, :1000]
    assert share_of(canvas, gone) < 0.0005
    if stays is not None:
        assert share_of(canvas, stays) > 0.004


def test_a_request_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<img src="http://127.0.0.1:9/a.png">')
    assert open_page(page, tmp_path, SIZES[0]).requests == ["http://127.0.0.1:9/a.png"]


def test_what_the_page_holds_is_what_was_given(tmp_path: Path, scan: ViewedScan) -> None:
    write_viewer(tmp_path / "viewer.html", [scan, scan], MAP.class_names, MAP.colours)
    text = (tmp_path / "viewer.html").read_text()
    data = json.loads(re.findall(r'type="application/json">(.*?)</script>', text, re.S)[0])
    assert [entry["count"] for entry in data["scans"]] == [120_000, 120_000]
    assert data["scans"][0]["subclasses"] == 3
    xyz = np.frombuffer(base64.b64decode(data["scans"][0]["xyz"]), "<i2").reshape(-1, 4)
    np.testing.assert_allclose(xyz[:-1, :3] / 100, scan.xyz[:-1], atol=0.0051)
    assert len(text) < 9_000_000
