"""Resuming under other settings: what changes the training is told, where the files lie is not."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from clusterseg.config.resumable import require_same_model

WEIGHTS = {"w": torch.zeros(2)}


def config(**data: Any) -> dict[str, Any]:
    return {"optim": {"optimizer": {"_target_": "torch.optim.SGD"}}, "data": data}


def said(theirs: dict[str, Any], ours: dict[str, Any], caplog: pytest.LogCaptureFixture) -> str:
    checkpoint = {"global_step": 1, "config": theirs, "state_dict": WEIGHTS}
    with caplog.at_level(logging.WARNING, "clusterseg"):
        require_same_model("last.ckpt", checkpoint, WEIGHTS, ours)
    return caplog.text


def mixture(share: float, root: str) -> dict[str, Any]:
    return {"waymo": {"share": share, "reader": {"root": root}}}


@pytest.mark.parametrize(
    ("theirs", "ours", "told"),
    [
        ({"sequences": {"train": [0]}}, {"sequences": {"train": [1]}}, "data.sequences.train: [0] -> [1]"),
        ({"train_scans": None}, {"train_scans": 10}, "data.train_scans: null -> 10"),
        ({"parts": mixture(1, "a")}, {"parts": mixture(3, "b")}, "data.parts.waymo.share: 1 -> 3"),
    ],
)
def test_other_scans_are_told(theirs: Any, ours: Any, told: str, caplog: pytest.LogCaptureFixture) -> None:
    text = said(config(**theirs), config(**ours), caplog)
    assert told in text and text.count("->") == 2  # the heading's, and this one


def test_another_place_of_the_files_is_not(caplog: pytest.LogCaptureFixture) -> None:
    theirs, ours = ({"root": name, "parts": mixture(1, name)} for name in ("a", "b"))
    assert not said(config(**theirs), config(**ours), caplog)
