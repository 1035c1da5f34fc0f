"""What a killed run is said to keep and to lack."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from benchmarks.kills import killed


def leave(run: Path, began: float, written: float | None, seconds: float = 0.0) -> None:
    """A run that began to train at a time, and wrote a checkpoint at another."""
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").touch()
    os.utime(run / "config.yaml", (began, began))
    if written is not None:
        last = run / "checkpoints/last.ckpt"
        state = {"callbacks": {"SystemFigures": {"seconds": seconds}}, "global_step": 4}
        torch.save({"state_dict": {}, "config": {}, **state}, last)
        os.utime(last, (written, written))


def test_what_a_killed_run_keeps(tmp_path: Path) -> None:
    now = time.time()
    leave(tmp_path / "half", now - 50, now - 20, seconds=37.0)
    found = killed(tmp_path / "half", now - 60, before=10.0)
    assert found.left == "last 4"
    assert found.kept == 27
    assert 20 <= found.lost < 25
    leave(tmp_path / "none", now - 50, None)
    assert killed(tmp_path / "none", now - 60, 0.0).kept == 0
    assert 50 <= killed(tmp_path / "none", now - 60, 0.0).lost < 55
    leave(tmp_path / "resumed", now - 50, now - 70, seconds=10.0)
    assert killed(tmp_path / "resumed", now - 60, before=10.0).kept == 0, "its checkpoint is of the part before"
    leave(tmp_path / "imports", now - 90, now - 70, seconds=10.0)
    found = killed(tmp_path / "imports", now - 60, before=10.0)
    assert (found.kept, found.lost) == (0, 0), "it had not trained yet"
