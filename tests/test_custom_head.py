"""A stranger's head, by the code and the commands of docs/custom.md."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from custom_folder import commands, run, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("head"))


def test_it_adds_its_loss_and_is_dropped_at_the_end(folder: Path) -> None:
    for line in commands("Head"):
        run(line, folder)
    with (folder / "compact/metrics.csv").open(newline="") as file:
        losses = [float(row["train/loss_compact"]) for row in csv.DictReader(file) if row["train/loss_compact"]]
    assert losses and all(loss > 0 for loss in losses)
    state = torch.load(folder / "compact/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert not [name for name in state if name.startswith("cluster.")], "this head has no weights"
    assert json.loads((folder / "compact/evaluation/metrics.json").read_text())["scans"] == 2


def test_what_is_no_head_is_refused(folder: Path) -> None:
    (folder / "model/cluster/compact.yaml").write_text("_target_: torch.nn.Identity\ntap: decoder\n")
    with pytest.raises(AssertionError, match=r"expected a clusterseg\.Head|takes no such setting"):
        run(commands("Head")[0].replace("run.dir=compact", "run.dir=refused"), folder)
