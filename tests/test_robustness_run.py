"""evaluate.py corrupt=...: what it scores, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig
from tiny_run import configure

from clusterseg.build.model import load
from clusterseg.commands.evaluate import evaluate
from clusterseg.data.augment.labelled import LabelledScan
from clusterseg.data.corrupt import CORRUPTIONS, About
from clusterseg.data.label_map import load_label_map
from clusterseg.data.scan import read_labels, read_scan
from clusterseg.errors import UserError


def evaluating(tiny_run: Path, *overrides: str) -> DictConfig:
    return configure("evaluate", f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}", "trainer=cpu", *overrides)


@pytest.fixture(scope="module")
def scored(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    evaluate(evaluating(tiny_run, "corrupt=incomplete_echo", "pictures=1", "data.max_scans=2"), folder)
    return folder


def test_scores_equal_those_of_a_loop_over_the_scans(tiny_run: Path, scored: Path) -> None:
    """Each scan read, corrupted with the generator of its index, predicted and counted on its own."""
    found = json.loads((scored / "metrics.json").read_text())
    label_map = load_label_map("semantickitti")
    model, about = load(tiny_run / "run/checkpoints/best.ckpt", device="cpu"), About(label_map.class_names)
    row = found["robustness"]["corruptions"]["incomplete_echo"]
    for severity in range(3):
        hits = points = 0
        for index in range(2):
            cloud = read_scan(tiny_run / f"data/08/velodyne/{index:06d}.bin")
            raw = read_labels(tiny_run / f"data/08/labels/{index:06d}.label", len(cloud))
            scan = LabelledScan(cloud, label_map.to_train(raw), raw.astype(np.int64) >> 16)
            seeds = np.random.SeedSequence([1, 0, index], spawn_key=(1,))  # seed 1, epoch 0
            scan = CORRUPTIONS["incomplete_echo"](scan, np.random.default_rng(seeds), severity, about)
            predicted = model.predict(scan.points).train_ids
            hits += int((predicted == scan.targets).sum())
            points += int((scan.targets != 255).sum())
        assert row["points"][severity] == points
        assert row["accuracy"][severity] == pytest.approx(hits / points, abs=1e-9)


def test_clean_figures_are_those_without_corruption(tiny_run: Path, scored: Path, tmp_path: Path) -> None:
    clean = evaluate(evaluating(tiny_run, "pictures=0", "data.max_scans=2"), tmp_path)
    found = json.loads((scored / "metrics.json").read_text())
    for name in ("miou", "accuracy", "iou", "points", "distance", "calibration"):
        assert found[name] == clean[name], name
    assert found["robustness"]["clean"] == clean["miou"]
    assert "robustness" not in clean


def test_the_report_shows_them(scored: Path) -> None:
    found = json.loads((scored / "metrics.json").read_text())["robustness"]
    text = (scored / "report.html").read_text()
    for value in (found["mce"], found["mrr"], *found["corruptions"]["incomplete_echo"]["miou"]):
        assert f"<td>{100 * value:.2f}</td>" in text
    assert text.count("<img ") == 6, "confusion, distance, reliability, the scan, corruptions in a plot and from above"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["corrupt=rain"], r"corrupt: unknown rain; expected all"),
        (["corrupt=fog", "split=test", "data.sequences.test=[08]"], r"corrupt: split=test .*set split=val"),
        (["corrupt=fog", "corrupt_baseline=none.json"], r"corrupt_baseline=none\.json: cannot be read"),
    ],
)
def test_refusals(tiny_run: Path, tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate(evaluating(tiny_run, *overrides), tmp_path)
