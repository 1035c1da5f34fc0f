"""The viewer of scans on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
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


@pytest.mark.parametrize("name", ["alone.bin", "folder/alone.bin"])
def test_one_scan_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    root = write_dataset(tmp_path / "data", {"08": 1})
    (tmp_path / "folder").mkdir()
    (root / "08/velodyne/000000.bin").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    run("viewer", [f"input={name}", "output=viewer.html"])
    assert [sorted(entry) for entry in held(tmp_path / "viewer.html")] == [["count", "title", "xyz"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["output=a.html"], "input is not set"),
        (["input=.", "output=a.html", "colour=red"], "colour: no such key"),
        (["input=.", "output=a.html", "scans=none"], "scans=none"),
        (["input=nowhere", "output=a.html"], "no .bin file there"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        run("viewer", arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
