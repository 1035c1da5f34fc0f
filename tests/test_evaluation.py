"""evaluate.py from a checkpoint to what it leaves in its run folder."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmark import LEARNING_MAP_INV, benchmark_scores
from omegaconf import DictConfig
from tiny_run import configure

from clusterseg.commands.evaluate import evaluate
from clusterseg.data.scan import read_labels
from clusterseg.errors import UserError
from clusterseg.predict.validate import validate

REPOSITORY = Path(__file__).parents[1]


def evaluating(tiny_run: Path, *overrides: str) -> DictConfig:
    checkpoint = tiny_run / "run/checkpoints/best.ckpt"
    return configure("evaluate", f"ckpt={checkpoint}", "trainer=cpu", "pictures=0", *overrides)


@pytest.fixture(scope="module")
def test_tree(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A partial 11-21: the scans of 08, with labels, as sequences 11 and 21."""
    root = tmp_path_factory.mktemp("tree")
    for sequence in ("11", "21"):
        for kind in ("velodyne", "labels"):
            (root / sequence / kind).mkdir(parents=True)
            for file in (tiny_run / "data" / "08" / kind).iterdir():
                (root / sequence / kind / file.name).write_bytes(file.read_bytes())
    return root


def test_what_a_run_leaves(tiny_run: Path, tmp_path: Path) -> None:
    result = evaluate(evaluating(tiny_run, "pictures=2"), tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert result["scans"] == 3
    assert result["latency_ms"]["scans"] == 2, "the first scan pays for warming up"
    assert result["latency_ms"]["slowest"] >= result["latency_ms"]["mean"] > 0
    assert 10 < result["peak_memory_mib"] < 100_000
    assert sum(band["points"] for band in result["distance"].values()) == result["points"] == 3 * 4900
    assert 0 <= result["calibration"]["ece"] <= 1
    rows = list(csv.reader((tmp_path / "confusion.csv").read_text().splitlines()))
    counts = np.array([[int(value) for value in row[1:]] for row in rows[1:]])
    assert counts.shape == (19, 19)
    assert counts.trace() / counts.sum() == pytest.approx(result["accuracy"], abs=1e-12)
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "bev").iterdir()) == ["08_000000.png", "08_000002.png"]
    assert page_facts(tmp_path / "report.html") == {"outside": [], "images": 5}
    assert page_facts(tmp_path / "viewer.html")["outside"] == []
    assert not list(tmp_path.rglob("*.tmp"))


def page_facts(path: Path) -> dict[str, object]:
    """Addresses that a page would ask for, and its embedded images."""
    text = path.read_text()
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)|url\(([^)]+)\)|(https?://[^\s"'<]+)""", text)
    outside = [a for group in addresses for a in group if a and not a.startswith("data:")]
    return {"outside": outside, "images": text.count("<img ")}


def test_two_checkpoints_side_by_side(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (tiny_run / f"run/checkpoints/{name}.ckpt" for name in ("best", "last"))
    config = configure("evaluate", f"compare=[{a},{b}]", "trainer=cpu", "pictures=0", "tta=flip4")
    comparison = evaluate(config, tmp_path)
    assert json.loads((tmp_path / "comparison.json").read_text()) == comparison
    assert comparison["a"] == json.loads((tmp_path / "a/metrics.json").read_text())
    for name, iou in comparison["b"]["iou"].items():
        assert comparison["difference"][name] == iou - comparison["a"]["iou"][name]
    assert set(comparison["difference"]) == {*comparison["a"]["iou"], "miou", "miou_present", "accuracy"}
    assert f"{100 * comparison['difference']['miou']:+.2f}" in (tmp_path / "report.html").read_text()
    assert "B - A" in capsys.readouterr().out
    with pytest.raises(UserError, match="expected two checkpoints"):
        evaluate(configure("evaluate", f"compare=[{a}]", "trainer=cpu"), tmp_path)


def test_test_split_writes_a_submission_that_scores_the_same(
    tiny_run: Path, test_tree: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    overrides = (f"data.root={test_tree}", "data.sequences={test:[11,21]}")
    result = evaluate(evaluating(tiny_run, "split=test", *overrides), tmp_path)
    checked = validate(tmp_path / "submission.zip", test_tree)
    assert checked.scans == result["scans"] == 6
    assert not checked.complete
    assert "NOT ready to upload" in caplog.text
    with pytest.raises(UserError, match="sequence 12 is missing"):
        validate(tmp_path / "submission.zip")
    scans = []
    for label in sorted((test_tree).glob("*/labels/*.label")):
        truth = read_labels(label, 4900)
        written = tmp_path / "submission/sequences" / label.parts[-3] / "predictions" / label.name
        scans.append((truth, read_labels(written, 4900)))
        assert set(np.unique(scans[-1][1]).tolist()) <= set(LEARNING_MAP_INV.values())
    miou, accuracy, iou = benchmark_scores(scans)
    assert result["miou"] == pytest.approx(miou, abs=1e-9)
    assert result["accuracy"] == pytest.approx(accuracy, abs=1e-9)
    assert list(result["iou"].values()) == pytest.approx(iou, abs=1e-9)


def test_scans_without_labels_have_no_scores(tiny_run: Path, test_tree: Path, tmp_path: Path) -> None:
    (tmp_path / "tree/11/velodyne").mkdir(parents=True)
    (tmp_path / "tree/11/velodyne/000000.bin").write_bytes((test_tree / "11/velodyne/000000.bin").read_bytes())
    overrides = (f"data.root={tmp_path / 'tree'}", "data.sequences={test:[11]}")
    result = evaluate(evaluating(tiny_run, "split=test", *overrides), tmp_path / "out")
    assert (result["miou"], result["points"], result["scans"]) == (None, 0, 1)
    assert validate(tmp_path / "out/submission.zip", tmp_path / "tree").scans == 1


def test_train_split_is_every_scan_without_augmentation(tiny_run: Path, tmp_path: Path) -> None:
    results = [evaluate(evaluating(tiny_run, "split=train"), tmp_path / str(i)) for i in range(2)]
    assert results[0]["scans"] == 4
    assert results[0]["iou"] == results[1]["iou"]
    assert evaluate(evaluating(tiny_run, "split=all"), tmp_path / "all")["scans"] == 7


@pytest.mark.parametrize("scans", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_two_ranks_count_every_scan_once(tiny_run: Path, tmp_path: Path, scans: int) -> None:
    alone = evaluate(evaluating(tiny_run, f"+data.max_scans={scans}"), tmp_path / "alone")
    command = [sys.executable, "evaluate.py", f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}", "trainer=ddp_cpu"]
    command += ["pictures=1", f"+data.max_scans={scans}", f"hydra.run.dir={tmp_path / 'two'}"]
    ended = subprocess.run(command, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    assert ended.returncode == 0, ended.stderr.decode()
    together = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert len(list((tmp_path / "two" / "bev").iterdir())) == 1
    assert together["scans"] == alone["scans"] == scans
    assert together["points"] == alone["points"] == scans * 4900
    assert together["iou"] == alone["iou"]
    assert together["calibration"]["ece"] == pytest.approx(alone["calibration"]["ece"], abs=1e-12)


def test_wandb_gets_the_scans_offline(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_SILENT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-login"))
    evaluate(evaluating(tiny_run, "pictures=1", "+data.max_scans=1", "logger=wandb"), tmp_path)
    clouds = [path.parent.name for path in tmp_path.rglob("*.pts.json")]
    assert sorted(clouds) == ["000000"] * 4, "input, truth, prediction, error"


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ckpt is not set"):
        evaluate(configure("evaluate", "trainer=cpu"), tmp_path)
