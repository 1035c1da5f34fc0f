"""The commands as a person types them: each mistake gives one message that names the place and the remedy."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from tiny import write_control, write_dataset

from clusterseg.commands.front_door import run as command

Run = Callable[..., str]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), {"00": 2, "08": 1})


@pytest.fixture
def fails(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run train.py with arguments that cannot work; returns what it says."""
    settings = {
        "data.root": str(root),
        "data.sequences.train": "[00]",
        "data.sequences.val": "[08]",
        "data.num_workers": "0",
        "model.backbone.control": str(write_control(tmp_path / "net.config")),
        "trainer": "cpu",
        "trainer.max_steps": "1",
        "hydra.run.dir": str(tmp_path / "run"),
    }

    def run(*arguments: str, script: str = "train") -> str:
        given = dict(argument.split("=", 1) for argument in arguments)
        used = settings | given if script == "train" else {"hydra.run.dir": settings["hydra.run.dir"]} | given
        monkeypatch.setattr("sys.argv", [f"{script}.py", *(f"{key}={value}" for key, value in used.items())])
        with pytest.raises(SystemExit) as exit_:
            command(script, sys.argv[1:])
        assert exit_.value.code == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert said.startswith("error: ")
        assert len(said.splitlines()) < 20, "one screen at most"
        return said

    return run


def test_missing_root(fails: Run, tmp_path: Path) -> None:
    said = fails(f"data.root={tmp_path / 'nowhere'}")
    assert str(tmp_path / "nowhere") in said
    assert "data.root" in said


def test_missing_sequence(fails: Run) -> None:
    said = fails("data.sequences.train=[00,03]")
    assert "03" in said
    assert "data.sequences.train" in said


def test_scan_without_label(fails: Run, tmp_path: Path) -> None:
    broken = write_dataset(tmp_path / "broken", {"00": 2, "08": 1})
    missing = broken / "00" / "labels" / "000001.label"
    missing.unlink()
    assert str(missing) in fails(f"data.root={broken}")


def test_damaged_scan_met_in_a_worker_process(fails: Run, tmp_path: Path) -> None:
    broken = write_dataset(tmp_path / "broken", {"00": 2, "08": 1})
    for label in (broken / "00" / "labels").iterdir():
        data = bytearray(label.read_bytes())
        data[:2] = (777).to_bytes(2, "little")
        label.write_bytes(data)
    said = fails(f"data.root={broken}", "data.num_workers=1")
    assert "777" in said
    assert ".label" in said


@pytest.mark.parametrize("place", ["is a file", "under a file"])
def test_run_folder_that_cannot_be_written(fails: Run, tmp_path: Path, place: str) -> None:
    blocker = tmp_path / "blocker"
    blocker.write_text("in the way")
    said = fails(f"hydra.run.dir={blocker if place == 'is a file' else blocker / 'run'}")
    assert str(blocker) in said
    assert "hydra.run.dir" in said


def test_unknown_key(fails: Run) -> None:
    assert "trainer.max_epoch" in fails("trainer.max_epoch=2")


def test_unknown_choice(fails: Run) -> None:
    said = fails("model=pointnet")
    assert "pointnet" in said
    assert "spvnas_cluster" in said


@pytest.mark.parametrize("argument", ["model=nope", "optim.nope=1"])
def test_a_wrong_name_is_told_before_the_command_and_pytorch_are_imported(
    fails: Run, monkeypatch: pytest.MonkeyPatch, argument: str
) -> None:
    monkeypatch.setattr("clusterseg.commands.front_door.import_module", None)
    assert argument.partition("=")[0] in fails(argument)


def test_missing_checkpoint(fails: Run, tmp_path: Path) -> None:
    assert str(tmp_path / "no.ckpt") in fails(f"ckpt={tmp_path / 'no.ckpt'}", script="evaluate")
    assert "ckpt=last: no checkpoint in" in fails("ckpt=last")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_damaged_checkpoint(fails: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.ckpt"
    path.write_bytes(content)
    assert str(path) in fails(f"ckpt={path}", script="evaluate")


def test_foreign_checkpoint(fails: Run, tmp_path: Path) -> None:
    path = tmp_path / "foreign.ckpt"
    torch.save({"weights": torch.zeros(3)}, path)
    assert "train.py" in fails(f"ckpt={path}", script="evaluate")


class Malicious:
    """Would create a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_malicious_checkpoint_does_not_run(fails: Run, tmp_path: Path) -> None:
    path, planted = tmp_path / "evil.ckpt", tmp_path / "planted"
    torch.save({"state_dict": {}, "config": Malicious(planted)}, path)
    assert str(path) in fails(f"ckpt={path}", script="evaluate")
    assert not planted.exists()


def test_control_file_that_does_not_exist(fails: Run) -> None:
    said = fails("model.backbone.control=nowhere.json")
    assert "nowhere.json" in said
    assert "model.backbone.control" in said


@pytest.mark.parametrize(
    "name", ["epoch=1-step=4.ckpt", "best (copy).ckpt", "a,b.ckpt", "x#1.ckpt", "it's.ckpt", "ü[1].ckpt"]
)
def test_a_path_that_needs_quotes_is_shown_in_them(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is shown is what a shell takes, and then names the file."""
    with pytest.raises(SystemExit):
        command("evaluate", [f"ckpt={name}", f"hydra.run.dir={tmp_path}"], ["evaluate.py"])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    if "shell: " in said:
        (argument,) = shlex.split(said.partition("shell: ")[2].strip())
        assert argument == f'ckpt="{name}"'
        assert OverridesParser.create().parse_override(argument).value() == name
    else:
        assert f"{name}: no such file" in said, "Hydra takes it as it is"
