"""Whole runs with the cluster head on streets: report, resume, and a test-time network without the head."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from test_run import evaluating, rows
from tiny import write_control, write_dataset
from tiny_run import configure

from clusterseg.callbacks.cluster_report import _Looked, _table
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.train import train
from clusterseg.errors import UserError

STREETS = "{scans: 2, azimuths: 128, beams: 16, sequences: [0, 8]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster")
    write_control(folder / "net.config")
    return folder


def clustering(folder: Path, *overrides: str) -> DictConfig:
    config = configure(
        "train",
        "data=streets",
        f"data.root={folder / 'streets'}",
        f"data.recipe={STREETS}",
        "data.sequences.train=[0]",
        "data.sequences.val=[8]",
        "data.batch_size=1",
        "model=spvnas_cluster",
        f"model.backbone.control={folder / 'net.config'}",
        "model.cluster.clusters_per_class=4",
        "model.cluster.ramp_steps=2",
        "optim=adamw",
        "trainer=cpu",
        *overrides,
    )
    config.optim.scheduler = {"_target_": "clusterseg.optim.constant", "_partial_": True}
    return config


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    train(clustering(folder, "trainer.max_steps=12", "trainer.max_epochs=-1"), folder / "run")
    return folder / "run"


def test_every_logged_number_is_finite(trained: Path) -> None:
    table = rows(trained)
    values = [float(value) for row in table for value in row.values() if value]
    assert all(math.isfinite(value) for value in values)
    expected = {"train/loss_point_point", "train/loss_point_center", "train/loss_point_bank"}
    expected |= {f"cluster/{name}" for name in ("entropy", "drift", "bank_fill", "hard", "used/road")}
    assert expected <= table[0].keys()


def test_the_report_shows_the_clusters(trained: Path) -> None:
    assert (trained / "clusters.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((trained / "clusters.json").read_text())
    assert len(report) > 3
    assert all(row["points"] > 1 for row in report.values())
    assert all(row["beyond"] == row["homogeneity"] - row["permuted"] for row in report.values())
    assert all(0 <= row["purity_of_one"] < 1 for row in report.values()), "a class of one mode tells nothing"
    assert all(0 <= row["purity_of_one"] <= row["purity"] <= 1 for row in report.values())
    assert all(-1 <= row["ari"] <= 1 for row in report.values())


def test_a_report_that_cannot_be_made_does_not_fail_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no picture today")

    monkeypatch.setattr("clusterseg.callbacks.cluster_report.cluster_figure", broken)
    with caplog.at_level("WARNING", "clusterseg"):
        train(clustering(folder, "trainer.max_steps=1", "trainer.max_epochs=-1"), tmp_path)
    assert "no report on the clusters: no picture today" in caplog.text
    assert json.loads((tmp_path / "outcome.json").read_text())["state"] == "finished"


def test_a_class_that_is_not_there_is_refused_before_the_first_step(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"callbacks\.clusters\.show=cra: no such class \(did you mean car\?\)"):
        train(clustering(folder, "trainer.max_steps=1", "callbacks.clusters.show=cra"), tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_any_number_of_known_modes_is_counted() -> None:
    modes = np.arange(40)
    scan = _Looked(np.zeros((40, 3), np.float32), np.full(40, 3), modes % 5, modes, 7 * modes + 1)
    table, of_things = _table([scan, scan], 3)
    assert table.shape == (5, 40)
    assert table.sum() == 80
    assert of_things.tolist() == modes.tolist()
    assert (table[modes % 5, modes] == 2).all()
    assert _table([scan], 1)[0].sum() == 0


def test_twelve_steps_are_six_and_six(folder: Path, trained: Path, tmp_path: Path) -> None:
    endless = "trainer.max_epochs=-1"
    train(clustering(folder, "trainer.max_steps=6", endless), tmp_path)
    train(clustering(folder, "trainer.max_steps=12", endless, "ckpt=last"), tmp_path)
    states = [
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (trained, tmp_path)
    ]
    assert states[0].keys() == states[1].keys()
    assert {"cluster.centers.vectors", "cluster.bank.rows", "cluster.step"} <= states[0].keys()
    assert int(states[0]["cluster.step"]) == 12
    assert [key for key in states[0] if not torch.equal(states[0][key], states[1][key])] == []


def test_evaluation_drops_the_head(trained: Path, tmp_path: Path) -> None:
    result = evaluate(evaluating(trained / "checkpoints" / "last.ckpt"), tmp_path)
    assert result["scans"] == 2
    logged = [row for row in rows(trained) if row["val/miou"]]
    assert result["miou"] == pytest.approx(float(logged[-1]["val/miou"]), abs=1e-6)
    for class_name, modes in result["mode_recall"].items():
        for mode, found in modes.items():
            assert float(logged[-1][f"val/mode_recall/{class_name}/{mode}"]) == pytest.approx(found["recall"], abs=1e-6)
    points = [found["points"] for modes in result["mode_recall"].values() for found in modes.values()]
    assert sum(points) == result["points"] and len(points) > 20, "each labelled point of a street has a mode"
    report = (tmp_path / "report.html").read_text()
    assert "adjusted Rand index" in report
    name, known = next(iter(json.loads((trained / "clusters.json").read_text()).items()))
    assert (
        f"<td>{name}</td><td>{known['beyond']:.3f}</td><td>{known['ari']:.3f}</td><td>{known['purity']:.3f}</td>"
        in report
    )


def test_a_network_trained_on_streets_is_scored_on_other_scans(trained: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", {"08": 3})
    result = evaluate(
        evaluating(trained / "checkpoints" / "last.ckpt", f"data.root={other}", "pictures=0"), tmp_path / "out"
    )
    assert result["scans"] == 3
    assert sorted(path.name for path in other.iterdir()) == ["08"], "nothing is generated beside them"
