"""The viewer of scans on disk."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from made_sets import cloud
from tiny import write_dataset

from clusterseg.commands.front_door import run


def held(page: Path) -> list[dict[str, object]]:
    return json.loads(re.findall(r'type="application/json">(.*?)</script>', page.read_text(), re.S)[0])["scans"]


def test_a_folder_with_truth_and_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path / "data", {"08": 5})
    page = tmp_path / "viewer.html"
    run("viewer", [f"input={root / '08/velodyne'}", f"output={page}", f"predictions={root / '08/labels'}", "scans=3"])
    assert "viewer.html" in capsys.readouterr().out
    assert [scan["title"] for scan in held(page)] == ["000000", "000002", "000004"]
    assert all(scan["truth"] == scan["prediction"] for scan in held(page))


def test_predictions_beside_the_scans_are_not_taken_for_truth(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", {"08": 1}) / "08"
    (root / "labels/predict.json").write_text("{}")
    run("viewer", [f"input={root / 'velodyne'}", f"output={tmp_path / 'a.html'}", f"predictions={root / 'labels'}"])
    (root / "labels/predict.json").unlink()
    (root / "labels/000000.label").rename(root / "other.label")
    run(
        "viewer", [f"input={root / 'velodyne'}", f"output={tmp_path / 'b.html'}", f"predictions={root / 'other.label'}"]
    )
    for page in ("a.html", "b.html"):
        assert "prediction" in held(tmp_path / page)[0] and "truth" not in held(tmp_path / page)[0]


@pytest.mark.parametrize("name", ["alone.bin", "folder/alone.bin"])
def test_one_scan_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    root = write_dataset(tmp_path / "data", {"08": 1})
    (tmp_path / "folder").mkdir()
    (root / "08/velodyne/000000.bin").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    run("viewer", [f"input={name}", "output=viewer.html"])
    assert [sorted(entry) for entry in held(tmp_path / "viewer.html")] == [["count", "title", "xyz"]]


def test_clouds_of_other_formats_and_a_label_file(tmp_path: Path) -> None:
    clouds = tmp_path / "clouds"
    clouds.mkdir()
    points = cloud(0, 300, columns=5)
    points[7, 0] = np.nan
    np.save(clouds / "a.npy", points)
    np.full(300, 40, "<u4").tofile(tmp_path / "of_a.label")
    page = tmp_path / "viewer.html"
    columns = "columns=[x,y,z,intensity,ring]"
    run("viewer", [f"input={clouds}", f"output={page}", f"predictions={tmp_path / 'of_a.label'}", columns])
    assert [(scan["title"], scan["count"]) for scan in held(page)] == [("a", 300)]
    assert "prediction" in held(page)[0] and "truth" not in held(page)[0]
    far = points + np.float32([5e5, 5e6, 300, 0, 0])  # in a frame of the country: moved to where it is seen
    np.save(clouds / "a.npy", far.astype(np.float64))
    run("viewer", [f"input={clouds}", f"output={page}", columns])
    flat = np.frombuffer(base64.b64decode(held(page)[0]["xyz"]), "<i2")
    assert (np.abs(flat[np.abs(flat) < 32767]) < 5000).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["output=a.html"], "input is not set"),
        (["input=.", "output=a.html", "colour=red"], "colour: no such key"),
        (["input=.", "output=a.html", "scans=none"], "scans=none"),
        (["input=nowhere", "output=a.html"], "no point cloud there; give a scan"),
        (["input=scan.label", "output=a.html"], "cannot read .label; expected one of"),
    ],
)
def test_mistakes(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "scan.label").write_bytes(bytes(16))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        run("viewer", arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
