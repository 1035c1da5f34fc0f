"""A checkpoint from elsewhere runs nothing of what a stranger wrote into its configuration."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from tiny_run import configure

import clusterseg
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.export import export
from clusterseg.commands.predict import predict
from clusterseg.config.trusted import build_trusted
from clusterseg.errors import UserError

PLANTED: list[dict[str, Any]] = [
    {"_target_": "os.system", "command": "touch planted"},
    {"_target_": "shutil.rmtree", "path": "precious"},
    {"_target_": "torch.utils.cpp_extension.load_inline", "name": "x", "cpp_sources": ["int x;"]},
    {"_target_": "torch.hub.load", "repo_or_dir": "someone/something", "model": "x"},
    {"_target_": "torch.load", "f": "evil.pt", "weights_only": False},
    {"_target_": "numpy.load", "file": "evil.npy", "allow_pickle": True},
    {"_target_": "logging.FileHandler", "filename": "planted"},
    {"_target_": "builtins.eval", "_args_": ["__import__('pathlib').Path('planted').touch()"]},
    {"_target_": "hydra.utils.instantiate", "config": {"_target_": "os.system", "command": "touch planted"}},
    {"_target_": "stranger.Anything"},
    # Reached through our own modules:
    {"_target_": "clusterseg.data.scan.os.system", "command": "touch planted"},
    {"_target_": "clusterseg.data.datamodule.os.mkdir", "path": "planted"},
    {"_target_": "clusterseg.data.label_map.Path.touch", "self": "planted"},
    {"_target_": "clusterseg.files.write_file", "path": "planted", "content": "x"},
    {"_target_": "clusterseg.data.scan.write_file", "path": "planted", "content": "x"},
    {"_target_": "clusterseg.data.scan.write_labels", "path": "planted", "labels": []},
    {"_target_": ["os", "system"]},
]
EXPORT = {"format": "torchsparse", "half": False, "trust": []}
PLACES = [
    "model.backbone",
    "model.backbone.dropout",
    "model.backbone.control.stem",
    "data",
    "data.sequences",
    "data.deep",
]


@pytest.fixture
def planted(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], Path]:
    """Return a function that plants a value into the configuration of a checkpoint, and watch what becomes of it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious").mkdir()
    (tmp_path / "stranger.py").write_text("from pathlib import Path\nPath('planted').touch()\nAnything = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    np.save(tmp_path / "scan.npy", np.random.default_rng(0).uniform(0, 5, (50, 4)).astype(np.float32))

    def plant(place: str, value: Any) -> Path:
        checkpoint = torch.load(tiny_run / "run/checkpoints/best.ckpt", weights_only=True)
        node = checkpoint["config"]
        *parents, last = place.split(".")
        for name in parents:
            node = node.setdefault(name, {})
        node[last] = value
        torch.save(checkpoint, tmp_path / "evil.ckpt")
        return tmp_path / "evil.ckpt"

    return plant


@cache
def composed(name: str) -> DictConfig:
    """The configuration of a command; composing takes longer than refusing it."""
    return configure(name, "trainer=cpu")


def settings(name: str, **values: Any) -> DictConfig:
    config = composed(name).copy()
    for key, value in values.items():
        config[key] = value
    return config


def run_all(path: Path, folder: Path, place: str) -> list[str]:
    """What each way to use a checkpoint says."""
    ways: dict[str, Callable[[], Any]] = {
        "evaluate": lambda: evaluate(settings("evaluate", ckpt=str(path)), folder / "out"),
        "compare": lambda: evaluate(settings("evaluate", compare=[str(path)] * 2), folder / "out"),
    }
    if place.startswith("model"):
        ways |= {
            "load": lambda: clusterseg.load(path),
            "export": lambda: export(OmegaConf.create(EXPORT | {"ckpt": str(path), "output": "w.pt"}), folder),
            "predict": lambda: predict(
                settings("predict", ckpt=str(path), input=str(folder / "scan.npy"), output="out"), folder
            ),
        }
    said = []
    for way in ways.values():
        with pytest.raises(UserError) as error:
            way()
        said.append(str(error.value))
    return said


CASES = [(place, value) for value in PLANTED for place in ("model.backbone.dropout", "data.deep")]
CASES += [(place, value) for place in PLACES for value in PLANTED[:2] if (place, value) not in CASES]


@pytest.mark.parametrize(
    ("place", "value"), CASES, ids=lambda case: str(case.get("_target_") if isinstance(case, dict) else case)
)
def test_nothing_planted_runs(
    planted: Callable[[str, Any], Path], tmp_path: Path, place: str, value: dict[str, Any]
) -> None:
    path = planted(place, value)
    before = set(sys.modules)
    for message in run_all(path, tmp_path, place):
        assert str(path) in message
        assert str(value["_target_"])[:30] in message
        assert place.partition(".")[0] in message
        assert len(message.splitlines()) == 1
    assert not (tmp_path / "planted").exists()
    assert (tmp_path / "precious").is_dir()
    assert "stranger" not in set(sys.modules) - before, "it was not even imported"


def test_what_is_refused_says_how_to_trust_it(planted: Callable[[str, Any], Path], tmp_path: Path) -> None:
    path = planted("model.backbone.dropout", {"_target_": "stranger.Anything"})
    assert "trust=[stranger]" in run_all(path, tmp_path, "model")[0]


def test_references_of_a_configuration_are_not_followed(planted: Callable[[str, Any], Path], tmp_path: Path) -> None:
    """`${oc.env:...}` of a stranger's configuration must not read this machine's secrets."""
    path = planted("data.sequences.val", ["${oc.env:HOME}"])
    with pytest.raises(UserError) as error:
        evaluate(configure("evaluate", f"ckpt={path}", "trainer=cpu"), tmp_path / "out")
    assert "${oc.env:HOME}" in str(error.value)


def test_a_trusted_module_builds_its_own_classes_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("import os\nfrom os import system\nclass Thing(dict):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    built = build_trusted({"a": [{"_target_": "mine.Thing", "b": 1}]}, ["mine"], "ckpt=x")
    assert built == {"a": [{"b": 1}]}
    assert type(built["a"][0]).__name__ == "Thing"
    for target in ("mine.system", "mine.os.system", "mine.Nothing"):
        with pytest.raises(UserError, match=r"asks to build|cannot be imported"):
            build_trusted({"_target_": target, "command": "true"}, ["mine"], "ckpt=x")
    with pytest.raises(UserError, match="minefield"):
        build_trusted({"_target_": "minefield.Thing"}, ["mine"], "ckpt=x")
