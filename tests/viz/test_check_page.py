"""The page of `clusterseg check` in a headless Chromium."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from browser import open_page

from clusterseg.data.label_map import load_label_map
from clusterseg.doctor.diagnosis import diagnose, record
from clusterseg.doctor.facts import ScanFacts
from clusterseg.doctor.suggestion import suggest
from clusterseg.doctor.survey import LADDER, Survey
from clusterseg.viz.bev import bev_figure
from clusterseg.viz.check_page import write_check
from clusterseg.viz.figures import png


def a_survey() -> Survey:
    """Some scans of two splits, one of which cannot be read."""
    rng = np.random.default_rng(0)
    names = load_label_map("semantickitti").class_names
    scans = []
    for number in range(30):
        split, points = ("train", "val")[number % 2], int(rng.integers(90_000, 130_000))
        ladder = {edge: 1 + 10 * edge for edge in LADDER}
        scans.append(
            ScanFacts(
                split,
                f"00/{number:06d}",
                f"/data/a/rather/long/path/to/the/sequences/00/velodyne/{number:06d}.bin",
                points=points,
                voxels=int(points * 0.7),
                reach=60.0,
                remission=(0.0, 0.0, 0.3, 0.9, 1.0),
                labelled=True,
                classes=rng.integers(1, 10_000, len(names) + 1),
                digest=bytes([number]),
                ladder=ladder,
            )
        )
    broken = ScanFacts("train", "00/000099", "/data/<broken>.bin", "/data/<broken>.bin: the scan is empty")
    return Survey([*scans, broken], names, "semantickitti", ("x", "y", "z", "remission"), 0.05, 80_000)


@pytest.mark.parametrize("size", [(1300, 1000), (500, 900)])
def test_the_page_shows_every_class_and_asks_nobody(tmp_path: Path, size: tuple[int, int]) -> None:
    survey = a_survey()
    findings = diagnose(survey)
    result = record(survey, findings, suggest(survey))
    xyz = np.random.default_rng(0).normal(0, 9, (500, 3))
    picture = png(bev_figure(xyz, {"input": np.full((500, 3), 200, np.uint8)}, "00/000000"))
    write_check(tmp_path / "check.html", result, findings, survey, {"train: 00/000000": picture}, "Check of a <set>")
    text = (tmp_path / "check.html").read_text()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", text)
    for name, points in result["classes"].items():
        assert cells[cells.index(name) + 1].startswith(f"{points['train']:,} (")
    assert "&lt;broken&gt;" in text and "<broken>" not in text
    shot = open_page(tmp_path / "check.html", tmp_path, size)
    assert shot.requests == []
    assert (shot.image < 0.5).any(), "there is something on it"
    assert (shot.image[:, -3:] > 0.9).all(), "nothing runs out of the window on the right"
