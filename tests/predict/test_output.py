"""Nothing is touched that a prediction has not written, whoever else is at work in the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clusterseg.errors import UserError
from clusterseg.files import temporary_name
from clusterseg.predict.claim import Claim
from clusterseg.predict.output import OutputFolder

USED = {"checkpoints": ["abc"], "tta": "none"}


def folder(path: Path, *names: str, inputs: tuple[Path, ...] = ()) -> OutputFolder:
    return OutputFolder(path, inputs, [path / name for name in names])


def test_a_foreign_file_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.label").write_text("mine")
    with (
        pytest.raises(UserError, match=r"a\.label is there already and was not written by predict\.py"),
        folder(tmp_path, "a.label").claimed(USED),
    ):
        pass
    assert os.listdir(tmp_path) == ["a.label"]
    assert (tmp_path / "a.label").read_text() == "mine"


def test_a_file_that_appears_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    output = folder(tmp_path, "a.label")
    with output.claimed(USED):
        (tmp_path / "a.label").write_text("mine")
        with pytest.raises(UserError, match="another program wrote it meanwhile"):
            output.write(tmp_path / "a.label", b"labels")
    assert (tmp_path / "a.label").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["a.label", "predict.json"]


@pytest.mark.parametrize("link", ["none", "file", "hard", "folder"])
def test_an_input_is_not_written_over(tmp_path: Path, link: str) -> None:
    source = tmp_path / "in" / "a.ply"
    source.parent.mkdir()
    source.write_text("points")
    out = tmp_path / "out"
    if link == "none":
        out = tmp_path / "in"
    elif link == "folder":
        out.symlink_to(tmp_path / "in")
    else:
        out.mkdir()
        (out / "a.ply").symlink_to(source) if link == "file" else os.link(source, out / "a.ply")
    with pytest.raises(UserError, match="is an input"), folder(out, "a.ply", inputs=(source,)).claimed(USED):
        pass
    assert source.read_text() == "points"


def test_own_files_are_replaced_and_the_record_grows(tmp_path: Path) -> None:
    for names in (("a.label",), ("a.label", "b.label")):
        output = folder(tmp_path, *names)
        with output.claimed(USED):
            for name in names:
                output.write(tmp_path / name, b"labels of " + name.encode())
    assert json.loads((tmp_path / "predict.json").read_text()) == {**USED, "targets": ["a.label", "b.label"]}
    assert sorted(os.listdir(tmp_path)) == ["a.label", "b.label", "predict.json"]


def test_other_settings_are_refused_once_something_is_written(tmp_path: Path) -> None:
    with folder(tmp_path, "a.label").claimed(USED):
        pass
    output = folder(tmp_path, "a.label")
    with output.claimed({**USED, "tta": "rot4"}):
        output.write(tmp_path / "a.label", b"labels")
    with pytest.raises(UserError, match=r"other tta \(rot4 there, none now\)"), output.claimed(USED):
        pass


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "of another program"}'])
def test_a_foreign_record_is_kept(tmp_path: Path, content: str) -> None:
    (tmp_path / "predict.json").write_text(content)
    with pytest.raises(UserError, match=r"not written by predict\.py"), folder(tmp_path, "a.label").claimed(USED):
        pass
    assert (tmp_path / "predict.json").read_text() == content


def test_only_own_leftovers_are_removed(tmp_path: Path) -> None:
    foreign = [".draft.tmp", ".thesis.docx.tmp", ".b.label.7.tmp", ".predict.host.7.tmp", "sub/.a.label.7.tmp"]
    (tmp_path / "sub").mkdir()
    ours = [".a.label.7.tmp", ".predict.json.7.tmp", ".a.label.node-3_cluster-12.tmp", temporary_name("a.label")]
    for name in [*foreign, *ours]:
        (tmp_path / name).write_text("")
    with folder(tmp_path, "a.label").claimed(USED):
        pass
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {*foreign, "predict.json"}


HOLD = """
import sys
from pathlib import Path
from clusterseg.predict.output import OutputFolder
path = Path(sys.argv[1])
with OutputFolder(path, [], [path / name for name in sys.argv[2:]]).claimed({"checkpoints": ["abc"], "tta": "none"}):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(path: Path, *names: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_two_at_once(tmp_path: Path) -> None:
    with hold(tmp_path, "a.label", "b.label") as other:
        with folder(tmp_path, "c.label").claimed(USED):
            pass
        with (
            pytest.raises(UserError, match=rf"being written by another predict\.py \(process {other.pid} "),
            folder(tmp_path, "b.label", "c.label").claimed(USED),
        ):
            pass
        with pytest.raises(UserError, match="other tta"), folder(tmp_path, "d.label").claimed({**USED, "tta": "rot4"}):
            pass
        other.kill()
    with folder(tmp_path, "b.label", "c.label").claimed(USED):
        pass
    assert os.listdir(tmp_path) == ["predict.json"]
    assert json.loads((tmp_path / "predict.json").read_text())["targets"] == ["b.label", "c.label"]


def test_a_claim_is_given_back(tmp_path: Path) -> None:
    claim = Claim(tmp_path, {"a"})
    claim.take()
    assert claim.is_alone and len(os.listdir(tmp_path)) == 1
    claim.release()
    assert os.listdir(tmp_path) == []
