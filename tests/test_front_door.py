"""What `clusterseg` says before any command runs."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from clusterseg import __version__
from clusterseg.commands.front_door import COMMANDS, main
from clusterseg.errors import UserError
from clusterseg.runs.folder import save_config


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"]])
def test_help_lists_every_command_with_its_purpose(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["clusterseg"])
    main(arguments)
    said = capsys.readouterr().out
    assert all(f"  {name} " in said and command.purpose in said for name, command in COMMANDS.items())


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"clusterseg {__version__}\n"


@pytest.mark.parametrize(("word", "meant"), [("trian", " (did you mean train?)"), ("zzz", "")])
def test_an_unknown_command(word: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([word])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == f"error: {word}: no such command{meant}; clusterseg --help lists them\n"


def test_a_command_by_its_name_and_by_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["scans=1", "sequences=[8]", "beams=16", "azimuths=60"]
    main(["streets", f"out={tmp_path / 'a'}", *settings])
    monkeypatch.setattr("sys.argv", ["clusterseg.synthetic", f"out={tmp_path / 'b'}", *settings])
    runpy.run_module("clusterseg.synthetic", run_name="__main__")
    scans = [(tmp_path / name / "sequences/08/velodyne/000000.bin").read_bytes() for name in "ab"]
    assert scans[0] == scans[1]


def test_a_run_folder_under_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written \(.+\); choose one by hydra.run.dir=DIR"):
        save_config(OmegaConf.create({}), tmp_path / "file")
