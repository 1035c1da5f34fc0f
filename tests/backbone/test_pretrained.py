"""Weights from elsewhere: what loads, what is refused, and that no file can run code."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from control_table import control_table
from golden import fill_state_dict
from golden_network import load_case, projection
from original_modules import original_weights
from small_network import network
from torch import Tensor, nn

from clusterseg.backbone import SPVCNN, SPVNAS, MinkUNet
from clusterseg.backbone.pretrained import load_pretrained
from clusterseg.errors import UserError

State = dict[str, Tensor]


def golden_names(shared: Path, kind: str) -> dict[str, list[int]]:
    return dict(json.loads((shared / f"golden/state_dict_{kind}.json").read_text()))


@pytest.mark.parametrize("kind", ["spvnas", "spvnas_cluster"])
def test_a_published_file_gives_the_golden_logits(shared: Path, tmp_path: Path, kind: str) -> None:
    shapes = golden_names(shared, kind)
    torch.save({"model": fill_state_dict(list(shapes.items())), "epoch": 15}, tmp_path / "init")
    net = SPVNAS(shared / "golden/net.config").eval()
    proj = projection(golden_names(shared, "spvnas_cluster")).eval()
    report = load_pretrained(tmp_path / "init", net, proj)
    assert (len(report.matched), report.unexpected, report.unused) == (len(shapes), (), ())
    assert len(report.missing) == (21 if kind == "spvnas" else 0)
    golden = load_case(shared, "small")
    with torch.inference_mode():
        out = net(golden["feats"], golden["coords"])
        features = proj(out.taps["bottleneck"])
    if kind == "spvnas_cluster":
        assert float((out.logits - golden["logits"]).abs().max()) <= 1e-4
        assert float((features - golden["cluster_features"]).abs().max()) <= 1e-4
    else:  # the baseline's list is filled by other tensor numbers from the projection on
        want = GoldenBaseline(shared)(golden["feats"], golden["coords"])
        torch.testing.assert_close(out.logits, want, rtol=0, atol=1e-5)


class GoldenBaseline(nn.Module):
    """The baseline's golden weights put in by hand."""

    def __init__(self, shared: Path) -> None:
        super().__init__()
        self.net = SPVNAS(shared / "golden/net.config").eval()
        state = fill_state_dict(list(golden_names(shared, "spvnas").items()))
        state["classifier.linear.weight"] = state["classifier.linear.weight"][:, :76]
        self.net.load_state_dict(state)

    @torch.inference_mode()
    def forward(self, feats: Tensor, coords: Tensor) -> Tensor:
        logits: Tensor = self.net(feats, coords).logits
        return logits


def published(cluster: bool = False) -> State:
    """A state dict of the small network as the original code would publish it."""
    net = network()
    state = dict(net.state_dict())
    padding = torch.full((7, 128 - 12), float("nan"))
    state["classifier.linear.weight"] = torch.cat([state["classifier.linear.weight"], padding], 1)
    if cluster:
        state |= {f"proj.{name}": value for name, value in head().state_dict().items()}
    return state


def head() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(20, 6), nn.BatchNorm1d(6), nn.ReLU())


def fresh() -> SPVNAS:
    torch.manual_seed(9)
    return SPVNAS(control_table(), num_classes=7)


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def renamed(change: Callable[[str], str]) -> Callable[[State], Any]:
    return lambda state: {change(name): value for name, value in state.items()}


def torchsparse_0(name: str) -> str:
    """Every BatchNorm over voxels wraps one of PyTorch."""
    stem, _, leaf = name.rpartition(".")
    is_norm = stem.endswith(".bn") or stem in ("stem.1", "stem.4")
    return f"{stem}.bn.{leaf}" if is_norm and not name.startswith("point") else name


FORMATS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "model": lambda state: {"model": state, "epoch": 3, "optimizer": {"lr": 0.1}},
    "state_dict": lambda state: {"state_dict": state},
    "module.": renamed("module.{}".format),
    "module. in model": lambda state: {"model": renamed("module.{}".format)(state)},
    "torchsparse 0": renamed(torchsparse_0),
    "1x1x1 kernels with three axes": lambda state: {
        name: value[None] if name.endswith("kernel") and value.dim() == 2 else value for name, value in state.items()
    },
    "half precision": lambda state: {name: v.half() if v.is_floating_point() else v for name, v in state.items()},
    "our checkpoint": lambda state: {
        "state_dict": {f"backbone.{name}": value for name, value in network().state_dict().items()}
        | {"cluster.bank.vectors": torch.zeros(3), "train_confusion.confmat": torch.zeros(2)},
        "config": {"seed": 1},
    },
}


@pytest.mark.parametrize("form", FORMATS)
def test_formats(tmp_path: Path, form: str) -> None:
    torch.save(FORMATS[form](published()), tmp_path / "file.pt")
    net, wanted = fresh(), network()
    assert not equal(net, wanted)
    report = load_pretrained(tmp_path / "file.pt", net)
    assert equal(net, wanted.half().float() if form == "half precision" else wanted)
    assert (len(report.matched), report.missing, report.unexpected) == (len(net.state_dict()), (), ())


@pytest.mark.parametrize("cr", [0.1, 0.64])
@pytest.mark.parametrize("name", ["spvcnn", "minkunet"])
def test_weights_of_the_original_hand_designed_networks(tmp_path: Path, name: str, cr: float) -> None:
    weights = original_weights(cr)
    torch.save({"model": weights}, tmp_path / "init")
    net = {"spvcnn": SPVCNN, "minkunet": MinkUNet}[name](cr)
    report = load_pretrained(tmp_path / "init", net)
    branch = {key for key in weights if key.startswith("point_transforms")}
    assert set(report.unused) == (branch if name == "minkunet" else set())
    assert len(report.matched) == len(net.state_dict())
    state = net.state_dict()
    assert torch.equal(state["downsample.2.feature.1.net.1.net.conv.kernel"], weights["stage3.2.net.3.kernel"])
    assert torch.equal(state["upsample.0.feature.0.downsample.net.bn.bias"], weights["up1.1.0.downsample.1.bias"])
    assert torch.equal(state["upsample.3.transition.net.bn.running_mean"], weights["up4.0.net.1.running_mean"])
    assert torch.equal(state["classifier.linear.weight"], weights["classifier.0.weight"])
    if name == "spvcnn":
        assert torch.equal(state["point_transforms.1.net.conv.weight"], weights["point_transforms.1.0.weight"])


@pytest.mark.parametrize("with_head", [True, False])
@pytest.mark.parametrize("in_file", [True, False])
def test_the_projection_is_optional(tmp_path: Path, in_file: bool, with_head: bool) -> None:
    torch.save(published(cluster=in_file), tmp_path / "file.pt")
    proj = nn.Sequential(nn.Linear(20, 6), nn.BatchNorm1d(6), nn.ReLU())
    before = proj[0].weight.clone()
    report = load_pretrained(tmp_path / "file.pt", fresh(), proj if with_head else None)
    loaded = in_file and with_head
    assert torch.equal(proj[0].weight, head()[0].weight if loaded else before)
    assert ("proj.0.weight" in report.matched) is loaded
    assert ("proj.0.weight" in report.unused) is (in_file and not with_head)
    assert ("proj.0.weight" in report.missing) is (with_head and not in_file)
    assert "proj.0.weight" in str(report) or not (in_file ^ with_head)


def refused(tmp_path: Path, content: Any, proj: nn.Module | None = None) -> str:
    """The message about a file that cannot be loaded; it names the file, and nothing has changed."""
    path = tmp_path / "file.pt"
    if not path.exists():
        torch.save(content, path)
    net = fresh()
    with pytest.raises(UserError) as error:
        load_pretrained(path, net, proj)
    assert f"model.init_from={path}" in str(error.value)
    assert equal(net, fresh())
    return str(error.value)


def test_other_shapes_are_refused_by_name(tmp_path: Path) -> None:
    state = published() | {"stem.3.kernel": torch.zeros(27, 8, 9), "classifier.linear.bias": torch.zeros(20)}
    message = refused(tmp_path, state)
    assert "stem.3.kernel is (27, 8, 9), expected (27, 8, 8)" in message
    assert "classifier.linear.bias is (20,), expected (7,)" in message
    assert "model.backbone.control" in message


def test_a_projection_of_other_widths_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path, published(cluster=True), nn.Sequential(nn.Linear(12, 6)))
    assert "proj.0.weight is (6, 20), expected (6, 12)" in message
    assert "model.cluster.tap" in message


def test_nothing_that_matches(tmp_path: Path) -> None:
    message = refused(tmp_path, {"model": {"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(2)}})
    assert "nothing in it matches this network" in message
    assert "conv1.weight, fc.bias" in message
    assert "stem.0.kernel" in message


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_part_of_a_network_needs_leave(tmp_path: Path, change: str) -> None:
    state = published()
    if change == "missing":
        del state["upsample.3.transition.net.bn.weight"]
    else:
        state["head.weight"] = torch.zeros(2)
    name = "upsample.3.transition.net.bn.weight" if change == "missing" else "head.weight"
    message = refused(tmp_path, state)
    assert f"{change} {name}" in message
    assert "model.init_strict=false" in message
    net = fresh()
    report = load_pretrained(tmp_path / "file.pt", net, strict=False)
    assert getattr(report, change) == (name,)
    assert torch.equal(net.stem[0].kernel, network().stem[0].kernel)


def test_a_classifier_of_other_classes_is_left_out_with_leave(tmp_path: Path) -> None:
    """As everybody does who fine-tunes on own classes."""
    state = published()
    names = tuple(name for name in state if name.startswith("classifier"))
    for name in names:
        state[name] = torch.randn(17, *state[name].shape[1:])
    message = refused(tmp_path, state)
    assert "17 classes" in message and "model.init_strict=false" in message and "control" not in message
    net, drawn = fresh(), fresh()
    drawn.load_state_dict(net.state_dict())
    report = load_pretrained(tmp_path / "file.pt", net, strict=False)
    assert len(report.other_classes) == len(names) == 2
    assert all(name in str(report) for name in report.other_classes)
    ours, theirs = net.state_dict(), network().state_dict()
    assert set(report.matched) | set(report.other_classes) == set(ours)
    assert all(torch.equal(ours[name], theirs[name]) for name in report.matched)
    assert all(torch.equal(ours[name], drawn.state_dict()[name]) for name in report.other_classes)


def test_values_that_are_not_finite(tmp_path: Path) -> None:
    state = published()
    state["stem.4.bias"] = torch.full((8,), float("inf"))
    assert "not finite in stem.4.bias" in refused(tmp_path, state)


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("save", ["torch", "legacy", "pickle"])
def test_a_malicious_file_does_not_run(tmp_path: Path, save: str) -> None:
    path, sprung = tmp_path / "file.pt", tmp_path / "sprung"
    content = {"model": published(), "extra": Trap(sprung)}
    if save == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=save == "torch")
    message = refused(tmp_path, None)
    assert not sprung.exists(), "code in the file ran"
    assert "can run code" in message
    torch.load(path, weights_only=False) if save != "pickle" else pickle.loads(path.read_bytes())
    assert sprung.exists(), "the trap works"


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut short", b"\x80\x02}q\x00."])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.pt").write_bytes(content)
    refused(tmp_path, None)


@pytest.mark.parametrize("content", [{}, [1, 2], torch.zeros(3), {"model": {}}, {"epoch": 3}])
def test_no_state_dict(tmp_path: Path, content: Any) -> None:
    assert "expected a state dict" in refused(tmp_path, content)


def test_a_file_cut_short(tmp_path: Path) -> None:
    torch.save(published(), tmp_path / "whole.pt")
    data = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "file.pt").write_bytes(data[: len(data) // 2])
    assert "damaged" in refused(tmp_path, None)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_pretrained(tmp_path / "absent", fresh())
    with pytest.raises(UserError, match="no such file"):
        load_pretrained(tmp_path, fresh())
