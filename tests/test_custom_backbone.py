"""A stranger's network, by the code and the commands of docs/custom.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from custom_folder import commands, run, write_folder


def test_it_trains_with_the_cluster_head_resumes_is_scored_and_predicts(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    lines = commands("Network")
    for line in lines:
        run(line, folder)
    first = torch.load(folder / "own/checkpoints/last.ckpt", weights_only=True)
    assert "backbone.voxel.0.weight" in first["state_dict"]
    assert first["state_dict"]["cluster.proj.0.weight"].shape[1] == 32, "the head takes its width from the tap"
    assert json.loads((folder / "own/evaluation/metrics.json").read_text())["scans"] == 2
    assert set(np.fromfile(folder / "own/labels/0.label", "<u4")) <= {1, 2, 3}
    run(f"{lines[0].replace('max_epochs=1', 'max_epochs=2')} ckpt=last", folder)
    second = torch.load(folder / "own/checkpoints/last.ckpt", weights_only=True)
    assert second["global_step"] == 2 * first["global_step"]


def test_a_network_that_is_not_trusted_is_not_run(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    lines = commands("Network")
    run(lines[0], folder)
    with pytest.raises(AssertionError, match=r"my_net\.Pillars.*trust=\[my_net\]"):
        run(lines[2].replace("trust=[my_net] ", ""), folder)


def test_what_is_no_backbone_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "model/backbone/pillars.yaml").write_text("_target_: torch.nn.Identity\n")
    with pytest.raises(AssertionError, match=r"torch\.nn\.Identity: expected a clusterseg\.backbone\.Backbone"):
        run(commands("Network")[0], folder)
