"""Published weights through the configuration: into a training run, and into a checkpoint to predict with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden import fill_state_dict
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict
from original_modules import original_weights

from clusterseg.build.prepare import self_contained
from clusterseg.build.task import build_backbone, build_task, init_weights
from clusterseg.cluster.projection import project
from clusterseg.commands.convert_weights import convert_weights
from clusterseg.data.inputs import Inputs
from clusterseg.data.label_map import load_label_map
from clusterseg.data.reader import Reader
from clusterseg.errors import UserError
from clusterseg.files import CONF


def configure(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, ["data.root=.", *overrides], return_hydra_config=True)
    with open_dict(config):
        del config["hydra"]
        config.name = "test"
    return config


def test_published_cluster_weights_give_the_golden_values(shared: Path, tmp_path: Path) -> None:
    names = json.loads((shared / "golden/state_dict_spvnas_cluster.json").read_text())
    torch.save({"model": fill_state_dict(names)}, tmp_path / "init")
    control = f"model.backbone.control={shared / 'golden/net.config'}"
    config = configure("train", "model=spvnas_cluster", f"model.init_from={tmp_path / 'init'}", control)
    config = self_contained(config)
    task = build_task(config, Inputs(Reader.features, 0.05, load_label_map("semantickitti"))).eval()
    init_weights(config, task)
    assert task.cluster is not None
    with np.load(shared / "golden/golden_small_batch2.npz") as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in ("coords", "feats", "logits", "cluster_features")}
    with torch.inference_mode():
        out = task.backbone(golden["feats"], golden["coords"][:, [3, 0, 1, 2]])
        rows = out.taps[task.cluster.tap]
        features = project(task.cluster.proj, rows, torch.ones(len(rows), dtype=torch.bool))
    assert float((out.logits - golden["logits"]).abs().max()) <= 1e-4
    assert float((features - golden["cluster_features"]).abs().max()) <= 1e-4


@pytest.mark.parametrize("model", ["spvcnn", "minkunet_cluster"])
def test_a_checkpoint_to_predict_with(tmp_path: Path, model: str) -> None:
    weights = original_weights(0.1)
    torch.save({"model": weights}, tmp_path / "init")
    overrides = (f"model={model}", "model.backbone.cr=0.1", f"model.init_from={tmp_path / 'init'}")
    convert_weights(configure("convert_weights", *overrides, f"output={tmp_path / 'own.ckpt'}"), tmp_path)
    content: dict[str, Any] = torch.load(tmp_path / "own.ckpt", weights_only=True)
    assert "output" not in content["config"]
    assert {"data", "model", "trainer"} <= content["config"].keys()
    net = build_backbone(OmegaConf.create(content["config"]), 4, 19)
    prefix = "backbone."
    net.load_state_dict({k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)})
    assert torch.equal(net.stem[0].kernel, weights["stem.0.kernel"])
    assert torch.equal(net.classifier.linear.bias, weights["classifier.0.bias"])


def test_mistakes(tmp_path: Path) -> None:
    torch.save(original_weights(0.1), tmp_path / "init")
    start = f"model.init_from={tmp_path / 'init'}"
    for overrides, message in (
        (["output=x"], "model.init_from is not set"),
        ([start, f"output={tmp_path}"], "is a folder"),
        ([start, f"output={tmp_path / 'init'}"], "is model.init_from itself"),
        ([start, f"output={tmp_path / 'init' / 'x'}"], "cannot be written"),
        ([start, "model.backbone.cr=0.2", "output=x"], "does not fit this network"),
        (["model.init_from=absent", "output=x"], "absent: no such file"),
    ):
        with pytest.raises(UserError, match=message):
            convert_weights(configure("convert_weights", "model=spvcnn", "model.backbone.cr=0.1", *overrides), tmp_path)
