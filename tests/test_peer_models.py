"""The models of other projects through the configuration: with and without the cluster head, and from their files."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tiny import scan, write_dataset
from tiny_run import configure
from torch import Tensor

from clusterseg.backbone.foreign import PROJECTS
from clusterseg.backbone.foreign.export import foreign_state, wrapped
from clusterseg.build.prepare import self_contained
from clusterseg.build.task import build_task
from clusterseg.commands.convert_weights import convert_weights
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.export import export
from clusterseg.commands.profile import profile
from clusterseg.commands.train import train
from clusterseg.data.inputs import Inputs
from clusterseg.data.label_map import load_label_map
from clusterseg.data.reader import Reader
from clusterseg.errors import UserError

MODELS = ["minkunet34", "minkunet34v2", "spvcnn18", "spvcnn34"]
#: Parameters at full width, as the golden networks have them; without OpenPCSeg's row for unlabeled.
PARAMETERS = {
    "minkunet34": 37_875_123,
    "minkunet34v2": 37_882_419,
    "spvcnn18": 21_785_780 - 481,
    "spvcnn34": 37_937_588 - 481,
}
INPUTS = Inputs(Reader.features, 0.05, load_label_map("semantickitti"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), {"00": 2, "08": 1})


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "tap", [pytest.param(None, marks=pytest.mark.slow), "bottleneck", pytest.param("decoder", marks=pytest.mark.slow)]
)
def test_trains_and_is_scored(data: Path, tmp_path: Path, model: str, tap: str | None) -> None:
    config = configure(
        "train",
        f"model={model}_cluster" if tap else f"model={model}",
        *([f"model.cluster.tap={tap}"] if tap else []),
        "model.backbone.cr=0.1",
        f"data.root={data}",
        "data.sequences={train: [0], val: []}",
        "data.num_workers=0",
        "trainer=cpu",
        "trainer.max_steps=1",
    )
    metrics = train(config, tmp_path)
    assert ("train/loss_point_center" in metrics) is (tap is not None)
    if tap == "bottleneck":
        ckpt = f"ckpt={tmp_path / 'checkpoints' / 'last.ckpt'}"
        scored = evaluate(
            configure("evaluate", ckpt, "trainer=cpu", "pictures=0", "data.sequences={val: [8]}"), tmp_path
        )
        assert scored["scans"] == 1


@pytest.mark.parametrize("model", MODELS)
def test_full_width_is_that_of_the_project(model: str) -> None:
    with torch.device("meta"):
        task = build_task(self_contained(configure("train", f"model={model}", "data.root=.")), INPUTS)
    assert sum(p.numel() for p in task.backbone.parameters()) == PARAMETERS[model]


def test_the_profile_counts_the_wide_classifier(tmp_path: Path) -> None:
    scan(np.random.default_rng(0), 300)[0].tofile(tmp_path / "scan.bin")
    overrides = ("model=minkunet34v2", "model.backbone.cr=0.5", f"scan={tmp_path / 'scan.bin'}")
    layers = {layer.name: layer for layer in profile(configure("profile", *overrides), tmp_path).layers}
    assert layers["classifier.linear"].macs == layers["classifier.linear"].voxels * 19 * (128 + 64 + 48)
    assert layers["downsample.3.feature.5.net.1.net.conv"].macs > 0


def checkpoint(path: Path, model: str, *overrides: str, seed: int = 1) -> dict[str, Tensor]:
    """A checkpoint of ours whose every number is random."""
    config = self_contained(configure("train", f"model={model}", "model.backbone.cr=0.1", "data.root=.", *overrides))
    torch.manual_seed(seed)
    task = build_task(config, INPUTS)
    state = {name: torch.rand_like(v) if v.is_floating_point() else v + 3 for name, v in task.state_dict().items()}
    settings = OmegaConf.to_container(config, resolve=True)
    torch.save({"state_dict": state, "config": settings, "inputs": INPUTS.plain()}, path)
    return {name: value for name, value in state.items() if name.startswith("backbone.")}


@pytest.mark.parametrize(
    ("form", "model", "suffix"),
    [
        ("mmdetection3d", "minkunet34", ".pth"),
        ("mmdetection3d", "minkunet34v2_cluster", ".pth"),
        ("openpcseg", "spvcnn18", ".pth"),
        ("openpcseg", "minkunet34v2", ".safetensors"),
        ("torch-pointcloud", "spvcnn", ".safetensors"),
    ],
)
def test_export_and_convert_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, form: str, model: str, suffix: str
) -> None:
    want = checkpoint(tmp_path / "own.ckpt", model)
    file = tmp_path / f"file{suffix}"
    settings = {"ckpt": str(tmp_path / "own.ckpt"), "format": form, "half": False, "output": str(file)}
    export(OmegaConf.create(settings), tmp_path)
    overrides = (
        f"model={model}",
        "model.backbone.cr=0.1",
        f"model.init_from={file}",
        f"output={tmp_path / 'back.ckpt'}",
    )
    with caplog.at_level(logging.INFO, logger="clusterseg"):
        convert_weights(configure("convert_weights", *overrides, "data.root=."), tmp_path)
    said = [line for line in caplog.messages if line.startswith(f"weights of {file}: a checkpoint of ")]
    assert len(said) == 1
    assert PROJECTS[form].title in said[0]
    back: dict[str, Any] = torch.load(tmp_path / "back.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, back[name]) for name, value in want.items())


def test_a_file_of_another_network_says_which(tmp_path: Path) -> None:
    from clusterseg.backbone import MinkUNet

    project = PROJECTS["mmdetection3d"]
    torch.save(wrapped(foreign_state(MinkUNet(0.5, depth=34), "mmdetection3d"), project), tmp_path / "file")
    overrides = ("model=minkunet", "model.backbone.cr=0.5", f"model.init_from={tmp_path / 'file'}", "output=x")
    with pytest.raises(
        UserError, match=r"mmdetection3d, MinkUNet cr=0\.5 depth=34 classifier=last\) is not the whole network"
    ):
        convert_weights(configure("convert_weights", *overrides, "data.root=."), tmp_path)


@pytest.mark.parametrize("setting", ["depth=50", "classifier=all", "cr=wide"])
def test_settings_out_of_range(tmp_path: Path, setting: str) -> None:
    overrides = ("model=minkunet", f"model.backbone.{setting}", "data.root=.", "trainer=cpu")
    with pytest.raises(UserError, match=rf"model\.backbone\.{setting}: expected"):
        train(configure("train", *overrides), tmp_path)
