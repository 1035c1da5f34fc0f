"""Corruption error and resilience rate against published tables, and baselines from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clusterseg.data.corrupt import CORRUPTIONS
from clusterseg.errors import UserError
from clusterseg.predict.robustness import PUBLISHED, read_baseline, robustness

# SPVCNN-34 on SemanticKITTI-C: mIoU at three severities, CE, RR in percent (Robo3D, docs/results/SPVCNN-34_cr1.6.md)
SPVCNN = {
    "fog": (62.15, 59.05, 48.39, 98.50, 89.42),
    "wet_ground": (59.43, 51.83, 49.79, 100.67, 84.91),
    "snow": (54.32, 52.22, 50.52, 101.99, 82.81),
    "motion_blur": (46.67, 32.10, 24.40, 97.81, 54.40),
    "beam_missing": (60.66, 57.36, 52.26, 98.99, 89.78),
    "crosstalk": (60.56, 59.22, 57.23, 98.42, 93.32),
    "incomplete_echo": (58.41, 54.90, 51.61, 98.82, 86.95),
    "cross_sensor": (57.72, 52.72, 30.76, 98.11, 74.45),
}


def rows(values: tuple[float, ...]) -> list[dict[str, Any]]:
    return [{"miou": v / 100, "miou_present": v / 100, "accuracy": 0.9, "points": 100} for v in values]


def test_a_published_table() -> None:
    found = robustness(0.6322, {name: rows(values[:3]) for name, values in SPVCNN.items()}, PUBLISHED)
    for name, values in SPVCNN.items():
        row = found["corruptions"][name]
        assert (100 * row["ce"], 100 * row["rr"]) == pytest.approx(values[3:], abs=0.02), name
    assert (100 * found["mce"], 100 * found["mrr"]) == pytest.approx((99.16, 82.01), abs=0.02)


def test_the_baseline_has_an_error_of_one_and_its_published_resilience() -> None:
    scores = {name: rows(tuple(100 * v for v in values)) for name, values in PUBLISHED.miou.items()}
    found = robustness(0.6276, scores, PUBLISHED)
    assert found["mce"] == pytest.approx(1) and 100 * found["mrr"] == pytest.approx(81.90, abs=0.02)
    assert set(found["corruptions"]) == set(CORRUPTIONS)


def test_a_network_that_finds_nothing_has_no_resilience() -> None:
    found = robustness(0.0, {"fog": rows((0, 0, 0))}, PUBLISHED)
    assert found["mrr"] is None and found["corruptions"]["fog"]["rr"] is None and found["mce"] > 1


def test_a_baseline_of_ones_own(tmp_path: Path) -> None:
    own = robustness(0.5, {"fog": rows((40, 30, 20))}, PUBLISHED)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"robustness": own}))
    baseline = read_baseline(str(path), ["fog"])
    assert robustness(0.5, {"fog": rows((40, 30, 20))}, baseline)["mce"] == pytest.approx(1)
    assert robustness(0.5, {"fog": rows((70, 65, 60))}, baseline)["mce"] == pytest.approx((0.3 + 0.35 + 0.4) / 2.1)
    for names, text in ((["fog", "snow"], path.read_text()), (["fog"], "{}"), (["fog"], "no json")):
        path.write_text(text)
        with pytest.raises(UserError, match=r"corrupt_baseline=.*cannot be read as the metrics\.json.*corrupt=\[fog"):
            read_baseline(str(path), names)
    with pytest.raises(UserError, match="corrupt_baseline"):
        read_baseline(str(tmp_path / "none.json"), ["fog"])
