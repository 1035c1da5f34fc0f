"""The picture in numbers: how a configuration travels through the package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from omegaconf import DictConfig
from tiny import write_control, write_dataset
from tiny_run import configure

import clusterseg
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.train import train

PACKAGE = Path(clusterseg.__file__).parent


def visits(function: Callable[[], Any]) -> list[tuple[str, str]]:
    """Each call, from file to file of the package, that is given the whole configuration."""
    calls: list[tuple[str, str]] = []

    def ours(frame: FrameType | None) -> str | None:
        name = frame.f_code.co_filename if frame is not None else ""
        return Path(name).relative_to(PACKAGE).as_posix() if name.startswith(f"{PACKAGE}/") else None

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or ours(frame) is None:
            return
        given = [frame.f_locals.get(name) for name in frame.f_code.co_varnames[: frame.f_code.co_argcount]]
        if any(isinstance(value, DictConfig) and "trainer" in value for value in given):
            caller = frame.f_back
            while caller is not None and ours(caller) is None:
                caller = caller.f_back
            calls.append((ours(caller) or "", ours(frame) or ""))

    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(None)
    return [(caller, callee) for caller, callee in calls if caller != callee]


def files_and_returns(calls: list[tuple[str, str]]) -> tuple[set[str], int]:
    """The files visited, and how often one that had been left was called again by another."""
    seen: list[str] = []
    returns = 0
    for _, callee in calls:
        returns += callee in seen and callee != seen[-1]
        seen.append(callee)
    return set(seen), returns


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    return [
        f"data.root={write_dataset(tmp_path / 'data', {'00': 2, '08': 1})}",
        "data.sequences={train: [0], val: [8]}",
        "data.num_workers=0",
        f"model.backbone.control={write_control(tmp_path / 'net.config')}",
        "trainer=cpu",
        "trainer.max_steps=1",
    ]


def test_a_configuration_goes_down_once(settings: list[str], tmp_path: Path) -> None:
    files, returns = files_and_returns(visits(lambda: train(configure("train", *settings), tmp_path / "run")))
    print(sorted(files), returns)
    assert len(files) <= 8, sorted(files)
    assert returns <= 2
    ckpt = f"ckpt={tmp_path / 'run/checkpoints/last.ckpt'}"
    scored = configure("evaluate", ckpt, "trainer=cpu", "pictures=0")
    files, returns = files_and_returns(visits(lambda: evaluate(scored, tmp_path / "out")))
    print(sorted(files), returns)
    assert len(files) <= 8, sorted(files)
    assert returns <= 2


def test_few_single_files_at_the_top() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 9
