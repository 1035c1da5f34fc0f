"""A run folder belongs to one live run: locks, and names that two take at the same time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clusterseg.commands.front_door import run as command
from clusterseg.errors import UserError
from clusterseg.runs import lock
from clusterseg.runs.earlier import holds_run, require_free
from clusterseg.runs.holder import this_process
from clusterseg.runs.lock import FolderLock, is_worked_in, working_in
from clusterseg.runs.outcome import Outcome
from clusterseg.sweeps.folders import make_new

HOLD = "import sys, time; from pathlib import Path; from clusterseg.runs.lock import working_in\n"
HOLD += "with working_in(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """Another process that works in the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_folder_is_refused_while_another_process_lives(tmp_path: Path, other: subprocess.Popen) -> None:
    for _ in range(2):
        with pytest.raises(UserError, match=rf"process {other.pid} on .*hydra\.run\.dir=DIR"), working_in(tmp_path):
            pass
    assert is_worked_in(tmp_path)
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert (tmp_path / ".lock").is_file(), "left by the dead"
    assert not is_worked_in(tmp_path)
    with working_in(tmp_path):
        assert is_worked_in(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_free_within_itself_and_for_other_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with working_in(tmp_path), working_in(tmp_path):
        assert (tmp_path / ".lock").is_file()
    monkeypatch.setenv("LOCAL_RANK", "1")
    with working_in(tmp_path):
        assert not (tmp_path / ".lock").exists()


def test_a_folder_is_refused_to_another_thread(tmp_path: Path) -> None:
    told: list[str] = []

    def enter() -> None:
        try:
            with working_in(tmp_path):
                told.append("entered")
        except UserError as error:
            told.append(str(error))

    with working_in(tmp_path):
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert "another run works in this folder" in told[0]


@pytest.mark.parametrize("beats", [True, False])
def test_the_holder_on_another_host_is_alive_while_it_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beats: bool
) -> None:
    """Where locks do not reach over the hosts."""
    monkeypatch.setattr(lock, "PATIENCE", 1.0)
    path = tmp_path / ".lock"
    path.write_text(replace(this_process(), host="elsewhere").as_text())
    ended = threading.Event()

    def beat() -> None:
        while beats and not ended.wait(0.05):
            path.touch()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        if beats:
            with pytest.raises(UserError, match="on elsewhere"), working_in(tmp_path):
                pass
        else:
            with working_in(tmp_path):
                assert socket.gethostname() in path.read_text()
    finally:
        ended.set()
        thread.join()


def test_an_old_sign_of_life_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text(replace(this_process(), host="elsewhere").as_text())
    os.utime(path, (time.time() - 1000,) * 2)
    began = time.monotonic()
    with working_in(tmp_path):
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("content", ["", "{", "half", '{"host": 1}'])
def test_a_lock_that_cannot_be_read_is_of_a_dead_process(tmp_path: Path, content: str) -> None:
    (tmp_path / ".lock").write_text(content)
    with working_in(tmp_path):
        pass


def test_without_locks_of_the_system_the_process_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_lock", lambda file: False)
    monkeypatch.setattr(lock, "SETTLE", 0.0)
    first, second = FolderLock(tmp_path), FolderLock(tmp_path)
    first.acquire()
    with pytest.raises(UserError, match=f"process {os.getpid()} on"):
        second.acquire()
    first.release()
    (tmp_path / ".lock").write_text(replace(this_process(), started="another").as_text())  # its number is taken again
    second.acquire()
    second.release()


def test_a_holder_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.05)
    with working_in(tmp_path):
        os.utime(tmp_path / ".lock", (0, 0))
        end = time.monotonic() + 60
        while (tmp_path / ".lock").stat().st_mtime == 0 and time.monotonic() < end:
            time.sleep(0.05)
        assert (tmp_path / ".lock").stat().st_mtime > 0


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    names = [make_new(tmp_path / "outputs" / "12-00-00").name for _ in range(3)]
    assert names == ["12-00-00", "12-00-00-2", "12-00-00-3"]


def test_what_counts_as_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / "train.log").touch()
    Outcome("failed", "why").write(tmp_path)
    assert not holds_run(tmp_path)
    Outcome("stopped").write(tmp_path)
    assert holds_run(tmp_path)
    for ckpt in ("last", "auto", str(tmp_path / "checkpoints" / "best.ckpt")):
        require_free(tmp_path, ckpt, overwrite=False)
    require_free(tmp_path, None, overwrite=True)
    for ckpt in (None, "/elsewhere/last.ckpt"):
        with pytest.raises(UserError, match="holds a run that has stopped"):
            require_free(tmp_path, ckpt, overwrite=False)


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_a_command_is_refused_before_anything_is_written(
    tmp_path: Path, other: subprocess.Popen, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    before = sorted(tmp_path.iterdir())
    arguments = ["-m", "seed=1,2"] if kind == "sweep" else ["seed=1"]
    with pytest.raises(SystemExit) as ended:
        command("train", [*arguments, f"hydra.{kind}.dir={tmp_path}", "data.root=none"], ["train.py"])
    assert ended.value.code == 2
    said = capfd.readouterr().err
    assert f"process {other.pid}" in said
    assert "Traceback" not in said
    assert sorted(tmp_path.iterdir()) == before


def test_default_names_are_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("clusterseg.commands.train.train", lambda config, folder: seen.append(folder))
    name = "outputs/${now:%Y}"
    for _ in range(2):
        command("train", [f"hydra.run.dir={name}"], ["train.py"])
        command("train", ["-m", f"hydra.sweep.dir=sweeps/{name}", "seed=1,2"], ["train.py"])
    year = time.strftime("%Y")
    places = [str(path.relative_to(tmp_path)) for path in seen]
    assert places == [
        f"outputs/{year}",
        *(f"sweeps/outputs/{year}/{number}" for number in "01"),
        f"outputs/{year}-2",
        *(f"sweeps/outputs/{year}-2/{number}" for number in "01"),
    ]


def test_an_evaluation_does_not_replace_the_configuration_of_a_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Outcome("finished").write(tmp_path)
    with pytest.raises(SystemExit):
        command("evaluate", ["ckpt=none", f"hydra.run.dir={tmp_path}"], ["evaluate.py"])
    assert "is that of a training" in capfd.readouterr().err


def test_paths_are_relative_to_where_the_command_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Path] = []
    monkeypatch.setattr("clusterseg.commands.train.train", lambda config, folder: seen.extend([Path.cwd(), folder]))
    command("train", ["hydra.run.dir=run", "hydra.job.chdir=true"], ["train.py"])
    assert seen == [tmp_path, tmp_path / "run"]
