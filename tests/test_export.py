"""Weights for the original code: its names and shapes, and back without a change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict
from original_modules import Original
from tiny import write_control
from torch import Tensor, nn
from warm_process import command

from clusterseg.backbone.pretrained import load_pretrained
from clusterseg.build.prepare import self_contained
from clusterseg.build.task import build_task, plain
from clusterseg.commands.export import export
from clusterseg.data.inputs import Inputs
from clusterseg.data.label_map import load_label_map
from clusterseg.data.reader import Reader
from clusterseg.errors import UserError
from clusterseg.files import CONF

INPUTS = Inputs(Reader.features, 0.05, load_label_map("semantickitti"))


def training(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["data.root=.", *overrides], return_hydra_config=True)
    with open_dict(config):
        del config["hydra"]
        config.name = "test"
    return self_contained(config)


def checkpoint(path: Path, config: DictConfig, seed: int = 0) -> Path:
    """A checkpoint of an untrained task whose every number is random."""
    torch.manual_seed(seed)
    task = build_task(config, INPUTS)
    state = {name: torch.randn_like(v) if v.is_floating_point() else v + 3 for name, v in task.state_dict().items()}
    torch.save({"state_dict": state, "config": plain(config)}, path)
    return path


def exported(ckpt: Path, output: Path, form: str = "torchsparse") -> dict[str, Tensor]:
    export(OmegaConf.create({"ckpt": str(ckpt), "format": form, "half": False, "output": str(output)}), output.parent)
    content: dict[str, dict[str, Tensor]] = torch.load(output, weights_only=True)
    assert list(content) == ["model"]
    return content["model"]


@pytest.mark.parametrize("model", ["spvnas", "spvnas_cluster"])
def test_names_and_shapes_are_those_of_the_published_list(shared: Path, tmp_path: Path, model: str) -> None:
    config = training(f"model={model}", f"model.backbone.control={shared / 'golden/net.config'}")
    state = exported(checkpoint(tmp_path / "own.ckpt", config), tmp_path / "out.pt")
    names = json.loads((shared / f"golden/state_dict_{model}.json").read_text())
    assert [[name, list(value.shape)] for name, value in state.items()] == names
    assert not state["classifier.linear.weight"][:, 76:].any()


def test_the_engine_of_the_training_need_not_be_installed(tmp_path: Path) -> None:
    config = training(f"model.backbone.control={write_control(tmp_path / 'net')}")
    own = checkpoint(tmp_path / "own.ckpt", config)
    content = torch.load(own, weights_only=True)
    content["config"]["model"]["backbone"]["backend"] = "an engine of another machine"
    torch.save(content, own)
    assert "stem.0.kernel" in exported(own, tmp_path / "out.pt")


MODELS = ["spvnas", "spvnas_cluster", "spvcnn", "spvcnn_cluster", "minkunet", "minkunet_cluster"]


@pytest.mark.parametrize("model", MODELS)
def test_a_round_trip_changes_nothing(tmp_path: Path, model: str) -> None:
    size = f"model.backbone.control={write_control(tmp_path / 'net')}" if "spvnas" in model else "model.backbone.cr=0.1"
    config = training(f"model={model}", size)
    own = checkpoint(tmp_path / "own.ckpt", config)
    exported(own, tmp_path / "out.pt")
    task = build_task(config, INPUTS)
    proj = task.cluster.proj if task.cluster is not None else nn.Sequential()
    report = load_pretrained(tmp_path / "out.pt", task.backbone, proj)
    assert (report.missing, report.unexpected) == ((), ())
    want = torch.load(own, weights_only=True)["state_dict"]
    state = task.state_dict()
    compared = [name for name in state if name.startswith(("backbone.", "cluster.proj."))]
    assert len(compared) == len(report.matched)
    for name in compared:
        assert state[name].dtype == want[name].dtype
        assert torch.equal(state[name], want[name]), name


@pytest.mark.parametrize("name", ["spvcnn", "minkunet"])
def test_the_original_modules_load_it_strictly(tmp_path: Path, name: str) -> None:
    config = training(f"model={name}", "model.backbone.cr=0.5")
    state = exported(checkpoint(tmp_path / "own.ckpt", config), tmp_path / "out.pt")
    Original(0.5).load_state_dict(state, strict=True)


def test_mistakes(tmp_path: Path) -> None:
    own = checkpoint(tmp_path / "own.ckpt", training(f"model.backbone.control={write_control(tmp_path / 'net')}"))
    before = own.read_bytes()
    out = tmp_path / "out.pt"
    for arguments, message in (
        ((own, out, "onnx"), "format=onnx: expected clusterseg, torchsparse"),
        ((own, tmp_path), "is a folder"),
        ((own, own), "is the checkpoint itself"),
        ((own, own / "out.pt"), "cannot be written"),
        ((tmp_path / "absent.ckpt", own), "no such file"),
    ):
        with pytest.raises(UserError, match=message):
            exported(*arguments)
    assert own.read_bytes() == before
    content = torch.load(own, weights_only=True)
    del content["state_dict"]["backbone.stem.3.kernel"]
    torch.save(content, tmp_path / "broken.ckpt")
    with pytest.raises(UserError, match=r"broken\.ckpt does not fit its own network(.|\n)*stem\.3\.kernel"):
        exported(tmp_path / "broken.ckpt", out)
    assert not out.exists()


def test_the_command(tmp_path: Path) -> None:
    """As typed, in a folder where nothing else is left behind."""
    own = checkpoint(tmp_path / "own.ckpt", training(f"model.backbone.control={write_control(tmp_path / 'net')}"))
    work = tmp_path / "work"
    work.mkdir()
    code, said = command(["export", f"ckpt={own}", "output=w.pt"], work)
    assert code == 0, said
    assert "wrote w.pt" in said
    assert [path.name for path in work.iterdir()] == ["w.pt"]
