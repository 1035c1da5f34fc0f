"""Killed, doubled, full, in the way: never half a data set taken for a whole one."""

import dataclasses
import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from streets_files import SMALL, command, digest, run

from clusterseg.errors import UserError
from clusterseg.synthetic import Recipe, ensure_streets, generate, write_streets

MORE = dataclasses.replace(SMALL, scans=26, sequences=(0,), period=0.5)  # two pieces


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return digest(write_streets(tmp_path_factory.mktemp("undisturbed") / "set", MORE, quiet=True))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_killed_half_way_and_run_again(tmp_path, undisturbed, workers):
    out = tmp_path / "set"
    process = subprocess.Popen(command(out, MORE, f"workers={workers}"), stderr=subprocess.DEVNULL)
    velodyne = out / ".partial" / "00" / "velodyne"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not velodyne.is_dir() or len(list(velodyne.glob("*.bin"))) < 5):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(list(velodyne.glob("*.bin")))
    assert 5 <= done < MORE.scans
    assert not (out / "sequences").exists()
    write_streets(out, MORE, quiet=True)
    assert digest(out) == undisturbed
    assert not (out / ".partial").exists()


def test_a_torn_file_of_a_killed_run_is_written_again(tmp_path, undisturbed):
    out = write_streets(tmp_path / "set", MORE, quiet=True)
    (out / "sequences").rename(out / ".partial")
    torn = out / ".partial/00/velodyne/000003.bin"
    torn.write_bytes(torn.read_bytes()[:1000])
    (out / ".partial/00/labels/000007.label").unlink()
    (out / ".partial/00/velodyne/.000009.bin.1").write_bytes(b"half")
    write_streets(out, MORE, quiet=True)
    assert digest(out) == undisturbed


def test_what_another_recipe_left_is_not_used(tmp_path, streets):
    out = write_streets(tmp_path / "set", dataclasses.replace(SMALL, seed=9), quiet=True)
    (out / "sequences").rename(out / ".partial")
    write_streets(out, SMALL, quiet=True)
    assert digest(out) == digest(streets)


def test_two_processes_at_once(tmp_path, streets):
    out = tmp_path / "set"
    processes = [subprocess.Popen(command(out, SMALL), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [p.communicate(timeout=240)[1] for p in processes]
    assert [p.returncode for p in processes] == [0, 0], errors
    assert digest(out) == digest(streets)
    assert not (out / ".partial").exists()


def test_the_second_one_waits_for_the_lock(tmp_path, streets):
    out = tmp_path / "set"
    out.mkdir()
    with open(out / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(command(out, SMALL), stderr=subprocess.PIPE, text=True)
        said = ""
        while "waiting" not in said:  # the console may break the line
            said += (line := process.stderr.readline())
            assert line, f"it has ended: {said}"
        assert process.poll() is None
        assert not (out / ".partial").exists()
        shutil.copytree(streets / "sequences", out / "sequences")
        shutil.copy(streets / "streets.json", out)
        before = (out / "sequences/00/velodyne/000000.bin").stat().st_mtime_ns
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert (out / "sequences/00/velodyne/000000.bin").stat().st_mtime_ns == before


def test_a_full_disk_is_told_and_cleaned_up(tmp_path, streets):
    """A tmpfs of 300 kB where this machine lets us mount one, else a limit on the size of files."""
    small = tmp_path / "disk"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small], capture_output=True)
    try:
        # the check of the free space is switched off: the disk fills while writing
        roomy = "import shutil, collections\nU = collections.namedtuple('U', 'total used free')\n"
        roomy += "shutil.disk_usage = lambda path: U(10**12, 0, 10**12)\n"
        limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        before = roomy if mounted.returncode == 0 else roomy + limit
        result = run(small / "set", SMALL, before=before)
        assert result.returncode == 2, result.stderr
        assert "fewer scans" in result.stderr
        assert "Traceback" not in result.stderr
        assert [f.name for f in (small / "set").iterdir()] == [".lock"]
        if mounted.returncode:
            assert digest(write_streets(small / "set", SMALL, quiet=True)) == digest(streets)
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", small], check=True)


def test_too_little_space_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(generate.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**6, 10**6, 1000))
    with pytest.raises(UserError, match=r"take about .* MB"):
        write_streets(tmp_path / "set", SMALL, quiet=True)
    assert not (tmp_path / "set" / "sequences").exists()


def test_a_data_set_is_reused(streets):
    file = streets / "sequences/00/velodyne/000000.bin"
    before = file.stat().st_mtime_ns
    write_streets(streets, SMALL, quiet=True)
    assert file.stat().st_mtime_ns == before


def test_another_recipe_is_refused_and_replaced_on_request(tmp_path):
    tiny = Recipe(scans=1, sequences=(0,), beams=16, azimuths=60)
    other = dataclasses.replace(tiny, seed=2)
    out = write_streets(tmp_path / "set", tiny, quiet=True)
    before = digest(out)
    with pytest.raises(UserError, match=r"seed is 1, asked for 2.*overwrite=true"):
        write_streets(out, other, quiet=True)
    assert digest(out) == before
    write_streets(out, other, overwrite=True, quiet=True)
    assert json.loads((out / "streets.json").read_text())["seed"] == 2
    assert digest(out) != before


def test_missing_scans_are_noticed(tmp_path):
    tiny = Recipe(scans=2, sequences=(0,), beams=16, azimuths=60)
    out = write_streets(tmp_path / "set", tiny, quiet=True)
    (out / "sequences/00/velodyne/000001.bin").unlink()
    with pytest.raises(UserError, match="scans are missing"):
        write_streets(out, tiny, quiet=True)
    write_streets(out, tiny, overwrite=True, quiet=True)
    assert (out / "sequences/00/velodyne/000001.bin").exists()


def test_foreign_sequences_are_left_alone(tmp_path):
    scan = tmp_path / "sequences/00/velodyne/000000.bin"
    scan.parent.mkdir(parents=True)
    scan.write_bytes(b"precious")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="not generated here"):
            write_streets(tmp_path, SMALL, overwrite=overwrite, quiet=True)
    assert scan.read_bytes() == b"precious"


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "set"):
        with pytest.raises(UserError, match=r"expected a folder that can be written"):
            write_streets(out, SMALL, quiet=True)


def test_each_recipe_has_a_folder_of_its_own(tmp_path):
    tiny = Recipe(scans=1, sequences=(8,), beams=16, azimuths=60)
    first = ensure_streets(tmp_path, tiny, quiet=True)
    second = ensure_streets(tmp_path, dataclasses.replace(tiny, seed=2), quiet=True)
    assert first != second
    assert first.parent == second.parent == tmp_path
    stamp = (first / "sequences/08/velodyne/000000.bin").stat().st_mtime_ns
    assert ensure_streets(str(tmp_path), tiny, quiet=True) == first
    assert (first / "sequences/08/velodyne/000000.bin").stat().st_mtime_ns == stamp
    assert np.fromfile(first / "sequences/08/velodyne/000000.bin", "<f4").size % 4 == 0
    assert isinstance(first, Path)


def test_a_process_that_dies_is_told_and_the_work_goes_on(tmp_path, undisturbed):
    before = """
import clusterseg.synthetic.drive as drive, os, threading, time, signal
from multiprocessing import active_children
def kill():
    while len(active_children()) < 2:
        time.sleep(0.01)
    os.kill(active_children()[0].pid, signal.SIGKILL)
threading.Thread(target=kill, daemon=True).start()
"""
    result = run(tmp_path / "set", MORE, "workers=2", before=before)
    assert result.returncode == 2, result.stderr
    assert "fewer workers" in result.stderr
    assert not (tmp_path / "set" / "sequences").exists()
    write_streets(tmp_path / "set", MORE, quiet=True)
    assert digest(tmp_path / "set") == undisturbed
