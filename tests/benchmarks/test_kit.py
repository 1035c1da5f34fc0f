"""The benchmarks run: each table on tiny inputs, the kit's rehearsal, and what the kit does with parts that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import kit
from benchmarks.gpu.waits import waits
from benchmarks.gpu.worker import PARTS
from benchmarks.measure import Timings
from benchmarks.options import ROOT
from benchmarks.page import page
from benchmarks.scaling import exponent
from benchmarks.scans import cloud, street
from benchmarks.tables import Table


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    around = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(command, cwd=ROOT, env=around, capture_output=True, text=True)


def test_the_gpu_kit_rehearses(tmp_path: Path) -> None:
    done = run("gpu", "--rehearse", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "gpu_rehearsal.json").read_text())
    assert found["rehearsal"] is True
    assert [part["part"] for part in found["parts"]] == list(PARTS)
    assert {part["status"] for part in found["parts"]} == {"ok"}
    told = {what for part in found["parts"] for what, _, _ in part["checks"]}
    assert {"resumed after 1 of 2 steps: bit for bit", "1 steps twice: bit for bit"} <= told
    assert "Rehearsal on the CPU" in (tmp_path / "gpu_rehearsal.md").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_kit_itself_wants_a_gpu(tmp_path: Path) -> None:
    done = run("gpu", "--out", str(tmp_path))
    assert done.returncode != 0
    assert done.stderr.strip() == (
        "error: PyTorch sees no GPU on this machine; python -m benchmarks gpu --rehearse runs the kit without"
    )


@pytest.mark.slow  # the rehearsal makes tables too
def test_a_table_and_its_page(tmp_path: Path) -> None:
    done = run("losses", "--quick", "--threads", "1", "--out", str(tmp_path), "--write", str(tmp_path / "page.md"))
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "losses.json").read_text())
    rows = {row[0]: row[1:] for row in found["tables"][0]["rows"]}
    assert set(rows) == {"Lovász-softmax", "cross-entropy"}
    assert all(seconds > 0 for row in rows.values() for seconds in row[:3])
    text = (tmp_path / "page.md").read_text()
    assert Table(**found["tables"][0]).markdown() in text
    assert "Nothing here has been measured on a GPU" in text


FAKE = """
import json, os, signal, sys, time
from pathlib import Path
folder, rehearse, *parts = sys.argv[1:]
for part in parts:
    if part == "engines":
        os.kill(os.getpid(), signal.SIGSEGV)
    if part == "maps":
        time.sleep(60)
    checks = [["it", part != "golden", ""]]
    record = {"part": part, "seconds": 0.0, "tables": [], "checks": checks, "notes": [], "errors": []}
    Path(folder, f"{part}.json").write_text(json.dumps(record))
    if part == "golden":
        sys.exit(3)
"""


def test_a_part_that_fails_crashes_or_hangs_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker.py").write_text(FAKE)
    popen = subprocess.Popen

    def fake(command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        return popen([sys.executable, str(tmp_path / "worker.py"), *command[3:]], **more)

    monkeypatch.setattr(subprocess, "Popen", fake)
    monkeypatch.setattr(kit, "LIMIT", 3.0)
    start = time.monotonic()
    found = kit.run_parts(["device", "golden", "engines", "maps", "network"], tmp_path, True)
    assert time.monotonic() - start < 50
    assert [record["status"] for record in found] == ["ok", "failed", "failed", "failed", "ok"]
    assert "ended with status -11" in found[2]["notes"][0]
    assert "was ended" in found[3]["notes"][0]
    monkeypatch.setattr(kit, "WHOLE", 0.0)
    assert kit.run_parts(["device"], tmp_path / "none", True)[0]["status"] == "left out"


def test_operators_that_would_wait_are_counted() -> None:
    x = torch.arange(6)

    def call() -> None:
        x.tolist()
        int(x[2])
        x[x > 2]
        x[torch.tensor([1])]
        x.nonzero()
        x.unique()
        x.repeat_interleave(x)
        x.repeat_interleave(x, output_size=15)
        torch.bincount(x)

    found = waits(call, torch.device("cpu")).by_cause
    assert found == {
        "tolist": 1,
        "_local_scalar_dense": 1,
        "index by a mask": 1,
        "nonzero": 1,
        "_unique2": 1,
        "repeat_interleave": 1,
        "bincount": 1,
    }


def test_shares_are_of_the_same_round() -> None:
    times = Timings({"a": [1.0, 4.0, 2.0], "b": [2.0, 2.0, 2.0]}, product=[100.0, 25.0, 50.0], copy=[1.0] * 3)
    assert times.share("a", 50.0) == pytest.approx(0.5)
    assert times.ratio("a", "b") == pytest.approx(1.0)


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_the_exponent_of_growth(power: float) -> None:
    sizes = (10, 30, 100)
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


@pytest.mark.parametrize("size", [50, 700])
def test_a_cloud_has_the_wanted_number_of_distinct_voxels(size: int) -> None:
    scan = street(beams=16, azimuths=20, voxel_size=0.2)
    assert 50 < len(scan) < 700
    found = cloud(scan, size)
    assert len(found) == len(found.feats) == len(found.labels) == len(torch.unique(found.coords, dim=0)) == size


def test_a_page_without_tables(tmp_path: Path) -> None:
    assert "No table has been made yet." in page(tmp_path, ["losses"])


def test_markdown_of_a_table() -> None:
    table = Table("T", ["a", "b"], notes=["n"])
    table.add("x|y", 1234.5)
    table.add("z", None)
    assert table.markdown() == "### T\n\nn\n\n| a | b |\n|---|---:|\n| x\\|y | 1,234 |\n| z | - |\n"
