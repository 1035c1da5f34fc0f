"""A network for others in one file, and the one that comes with the package under a name."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tiny_run import configure

import clusterseg
from clusterseg.backbone import shipped
from clusterseg.backbone.safetensors_file import read_metadata, safetensors_bytes
from clusterseg.build.prepare import prepare
from clusterseg.commands.convert_weights import convert_weights
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.export import export
from clusterseg.commands.predict import predict
from clusterseg.commands.train import train
from clusterseg.errors import UserError
from clusterseg.runs.checkpoint import read_checkpoint
from clusterseg.runs.network_file import halved


def write(ckpt: Path, output: Path, half: bool = True, form: str = "clusterseg") -> Path:
    settings = {"ckpt": str(ckpt), "format": form, "half": half, "output": str(output)}
    export(OmegaConf.create(settings), output.parent)
    return output


@pytest.fixture
def best(tiny_run: Path) -> Path:
    return tiny_run / "run/checkpoints/best.ckpt"


@pytest.fixture
def streets(best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny network in the place of the shipped one; the current folder is empty."""
    folder = tmp_path / "package"
    folder.mkdir()
    monkeypatch.setattr(shipped, "FOLDER", folder)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return write(best, folder / "streets.safetensors")


def test_the_file_holds_the_backbone_and_what_it_takes(best: Path, tmp_path: Path) -> None:
    trained = read_checkpoint(best)
    whole = read_checkpoint(write(best, tmp_path / "whole.safetensors", half=False))
    half = read_checkpoint(write(best, tmp_path / "half.safetensors"))
    weights = {name: value for name, value in trained["state_dict"].items() if name.startswith("backbone.")}
    assert list(whole["state_dict"]) == list(half["state_dict"]) == list(weights)
    for name, value in weights.items():
        assert torch.equal(whole["state_dict"][name], value)
        assert half["state_dict"][name].dtype == value.dtype
        torch.testing.assert_close(half["state_dict"][name], value, rtol=2**-11, atol=2**-25)
    assert whole["inputs"] == half["inputs"] == trained["inputs"]
    assert half["config"]["model"]["backbone"] == trained["config"]["model"]["backbone"]
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole")]
    floats = sum(value.numel() for value in weights.values() if value.is_floating_point())
    assert sizes[1] - sizes[0] == pytest.approx(2 * floats, abs=1000)  # the header names another type


def test_no_place_of_the_training_is_in_it(best: Path, tiny_run: Path, tmp_path: Path) -> None:
    assert str(tiny_run) in json.dumps(read_checkpoint(best)["config"])
    assert str(tiny_run).encode() not in write(best, tmp_path / "file.safetensors").read_bytes()


def test_predict_evaluate_and_a_program_take_the_name(streets: Path, tiny_run: Path) -> None:
    scan = tiny_run / "data/08/velodyne/000000.bin"
    config = configure("predict", "ckpt=streets", f"input={scan}", "output=labels", "remission=1", "trainer=cpu")
    assert predict(config, Path("."))["predicted"] == 1
    labels = np.fromfile("labels/000000.label", np.uint32)
    points = np.fromfile(scan, np.float32).reshape(-1, 4)
    assert np.array_equal(labels, clusterseg.load(str(streets)).predict(points).labels)
    assert np.array_equal(labels, clusterseg.load("streets").predict(points).labels)
    scored = configure("evaluate", "ckpt=streets", f"data.root={tiny_run / 'data'}", "trainer=cpu", "pictures=0")
    ours = evaluate(scored, Path("scores"))
    theirs = f"ckpt={tiny_run / 'run/checkpoints/best.ckpt'}"
    trained = evaluate(configure("evaluate", theirs, "trainer=cpu", "pictures=0"), Path("trained"))
    assert ours["scans"] == trained["scans"] == 3
    assert ours["miou_present"] == pytest.approx(trained["miou_present"], abs=0.02)  # 16 bits against 32
    with pytest.raises(UserError, match=r"data\.root is not set.*data\.root=DIR"):
        evaluate(configure("evaluate", "ckpt=streets", "trainer=cpu"), Path("none"))


def settings(tiny_run: Path, *more: str) -> list[str]:
    data = [f"data.root={tiny_run / 'data'}", "data.sequences={train: [0], val: []}", "data.num_workers=0"]
    return [*data, f"model.backbone.control={tiny_run / 'net.config'}", "trainer=cpu", *more]


def test_a_training_starts_from_it(streets: Path, tiny_run: Path, caplog: pytest.LogCaptureFixture) -> None:
    still = ("optim.optimizer.lr=0", "trainer.max_steps=1", "optim.optimizer.weight_decay=0")
    with caplog.at_level("INFO", "clusterseg"):
        train(configure("train", "model.init_from=streets", *settings(tiny_run, *still)), Path("run"))
    state, given = (read_checkpoint(file)["state_dict"] for file in ("run/checkpoints/last.ckpt", "streets"))
    assert torch.equal(state["backbone.stem.0.kernel"], given["backbone.stem.0.kernel"])
    assert any("weights of streets: a checkpoint of clusterseg" in message for message in caplog.messages)
    convert_weights(
        configure(
            "convert_weights",
            "model.init_from=streets",
            "output=own.ckpt",
            *settings(tiny_run)[:1],
            settings(tiny_run)[3],
        ),
        Path("."),
    )
    assert torch.equal(
        read_checkpoint("own.ckpt")["state_dict"]["backbone.stem.0.kernel"], given["backbone.stem.0.kernel"]
    )


def test_a_name_stays_a_name_in_the_configuration(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = settings(tiny_run, "model.init_from=streets")
    assert prepare(configure("train", *given)).model.init_from == "streets"
    (tmp_path / "streets").touch()  # a file of the user's comes first
    assert prepare(configure("train", *given)).model.init_from == str(tmp_path / "streets")
    assert shipped.weights_path("streets", "ckpt") == Path("streets")


def test_mistakes(best: Path, streets: Path, tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds weights and no training to resume.*model\.init_from="):
        train(configure("train", "ckpt=streets", *settings(tiny_run)), Path("run"))
    for arguments, message in (
        ((best, tmp_path / "out.pt"), "written as safetensors"),
        ((best, tmp_path / "out.pt", True, "torchsparse"), "half=true is for format=clusterseg"),
        ((streets, streets), "is the checkpoint itself"),
    ):
        with pytest.raises(UserError, match=message):
            write(*arguments)
    streets.unlink()
    for function, config in (
        (predict, configure("predict", "ckpt=streets", f"input={tiny_run / 'data'}", "output=o", "trainer=cpu")),
        (evaluate, configure("evaluate", "ckpt=streets", "trainer=cpu")),
        (train, configure("train", "model.init_from=streets", *settings(tiny_run))),
    ):
        with pytest.raises(
            UserError, match=r"(ckpt|init_from)=streets: the network of that name .* is missing; install"
        ):
            function(config, Path("run"))


def test_a_number_too_large_for_16_bits_is_refused() -> None:
    with pytest.raises(UserError, match=r"half=true: b holds numbers beyond 65504; .* half=false"):
        halved({"a": torch.ones(2), "b": torch.tensor([1.0, 7e4]), "n": torch.tensor(70_000)})
    assert halved({"n": torch.tensor(70_000)})["n"] == 70_000


def test_damaged_and_foreign_files(best: Path, tmp_path: Path) -> None:
    file = write(best, tmp_path / "file.safetensors")
    content = file.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    for name, changed in (
        ("cut", content[: len(content) // 2]),
        ("header", content[: 8 + length // 2]),
        ("text", content.replace(b'\\"features\\"', b'\\"features\\\\')),
    ):
        (tmp_path / name).write_bytes(changed)
        with pytest.raises(UserError, match=r"cannot be read: .*; the file may be cut short"):
            read_checkpoint(tmp_path / name)
    (tmp_path / "plain").write_bytes(safetensors_bytes({"a": torch.ones(1)}, {"format": "pt"}))
    with pytest.raises(UserError, match="is no network of clusterseg"):
        read_checkpoint(tmp_path / "plain")
    assert read_metadata(tmp_path / "plain") == {"format": "pt"}


def test_its_configuration_builds_only_what_is_trusted(best: Path, tmp_path: Path) -> None:
    content = write(best, tmp_path / "file.safetensors").read_bytes()
    (tmp_path / "evil").write_bytes(content.replace(b"clusterseg.backbone.SPVNAS", b"os.system" + b"x" * 17))
    with pytest.raises(UserError, match="nothing of it was run"):
        clusterseg.load(str(tmp_path / "evil"))


def renamed(tiny_run: Path, tmp_path: Path) -> str:
    """The label map of the tiny network with one class under another name."""
    table = read_checkpoint(tiny_run / "run/checkpoints/best.ckpt")["inputs"]["label_map"]
    classes = {("lorry" if name == "truck" else name): entry for name, entry in table["classes"].items()}
    (tmp_path / "own.yaml").write_text(json.dumps(table | {"classes": classes}))
    return f"data.label_map={tmp_path / 'own.yaml'}"


@pytest.mark.parametrize("kind", ["checkpoint", "file"])
def test_other_classes_of_the_same_number(kind: str, best: Path, streets: Path, tiny_run: Path, tmp_path: Path) -> None:
    """A classifier of as many other classes would fit, and be wrong."""
    start = f"model.init_from={best if kind == 'checkpoint' else 'streets'}"
    still = ("optim.optimizer.lr=0", "trainer.max_steps=1", "optim.optimizer.weight_decay=0")
    given = settings(tiny_run, start, renamed(tiny_run, tmp_path), *still)
    with pytest.raises(UserError, match=r"is for other classes than this data: truck is lorry here.*init_strict=false"):
        train(configure("train", *given), Path("run"))
    train(configure("train", *given, "model.init_strict=false"), Path("run"))
    state = read_checkpoint("run/checkpoints/last.ckpt")["state_dict"]
    theirs = read_checkpoint(best if kind == "checkpoint" else "streets")["state_dict"]
    assert torch.equal(state["backbone.stem.0.kernel"], theirs["backbone.stem.0.kernel"])
    assert not torch.equal(state["backbone.classifier.linear.weight"], theirs["backbone.classifier.linear.weight"])


def test_the_network_of_the_package(tiny_run: Path) -> None:
    file = shipped.FOLDER / "streets.safetensors"
    if not file.is_file():
        pytest.skip("the package holds no network yet")
    assert file.stat().st_size < 4_000_000
    model = clusterseg.load("streets")
    points = np.fromfile(tiny_run / "data/08/velodyne/000000.bin", np.float32).reshape(-1, 4)
    result = model.predict(points)
    assert len(result.labels) == len(points) and np.isfinite(result.confidence).all()
    assert len(model.class_names) == 19
