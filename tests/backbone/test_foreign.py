"""Files of other projects: told by their names, whatever they are wrapped in, and written back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from original_modules import original_weights
from small_network import scan
from torch import Tensor, nn

from clusterseg.backbone import SPVCNN, SPVNAS, Backbone, MinkUNet
from clusterseg.backbone.control import ControlFile
from clusterseg.backbone.foreign import PROJECTS
from clusterseg.backbone.foreign.export import NEVER, foreign_state, wrapped
from clusterseg.backbone.pretrained import load_pretrained
from clusterseg.backbone.safetensors_file import read_safetensors, safetensors_bytes
from clusterseg.backbone.widths import fixed_widths
from clusterseg.errors import UserError

State = dict[str, Tensor]

#: A network that each project has, and others.
HOMES = [
    ("torchsparse", MinkUNet, {}),
    ("torchsparse", SPVCNN, {}),
    ("mmdetection3d", MinkUNet, {"depth": 34}),
    ("mmdetection3d", MinkUNet, {"depth": 34, "classifier": "levels"}),
    ("mmdetection3d", SPVCNN, {}),
    ("openpcseg", MinkUNet, {"depth": 34, "classifier": "levels"}),
    ("openpcseg", SPVCNN, {"classifier": "levels"}),
    ("torch-pointcloud", SPVCNN, {"depth": 34}),
]


def filled(kind: Callable[..., Backbone], seed: int, **settings: Any) -> Backbone:
    """A narrow network whose every number is random."""
    torch.manual_seed(seed)
    net = kind(0.1, **settings)
    state = {name: torch.rand_like(v) if v.is_floating_point() else v + seed for name, v in net.state_dict().items()}
    net.load_state_dict(state)
    return net.eval()


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize(("form", "kind", "settings"), HOMES)
def test_there_and_back(tmp_path: Path, form: str, kind: type[Backbone], settings: dict[str, Any]) -> None:
    net, again = filled(kind, 1, **settings), filled(kind, 2, **settings)
    assert not same(net, again)
    torch.save(wrapped(foreign_state(net, form), PROJECTS[form]), tmp_path / "file")
    report = load_pretrained(tmp_path / "file", again)
    assert same(net, again)
    assert (report.missing, report.unexpected) == ((), ())
    assert f"a checkpoint of {PROJECTS[form].title}" in str(report)
    assert f"depth={settings.get('depth', 18)} classifier={settings.get('classifier', 'last')}" in str(report)


GOLDEN = [
    ("mmdet3d_minkunet18_w16", "mmdetection3d", MinkUNet, {"cr": 0.5}),
    ("mmdet3d_minkunet34v2_w32", "mmdetection3d", MinkUNet, {"depth": 34, "classifier": "levels"}),
    ("mmdet3d_spvcnn_w16", "mmdetection3d", SPVCNN, {"cr": 0.5}),
    ("openpcseg_minkunet_mk34_cr10", "openpcseg", MinkUNet, {"depth": 34, "classifier": "levels"}),
    ("openpcseg_spvcnn_mk18_cr10", "openpcseg", SPVCNN, {"classifier": "levels"}),
    ("spvnas_minkunet_cr0p5", "torchsparse", MinkUNet, {"cr": 0.5}),
    ("spvnas_spvcnn_cr0p5", "torchsparse", SPVCNN, {"cr": 0.5}),
    ("torchpointcloud_spvcnn_30gmacs", "torch-pointcloud", SPVCNN, {"cr": 0.5}),
]


@pytest.mark.parametrize(("name", "form", "kind", "settings"), GOLDEN)
def test_names_and_shapes_of_an_export(
    shared: Path, name: str, form: str, kind: type[Backbone], settings: dict[str, Any]
) -> None:
    facts = json.loads((shared / f"golden/peers/{name}.json").read_text())
    with torch.device("meta"):
        state = foreign_state(kind(**settings), form)
    assert {key: list(value.shape) for key, value in state.items()} == dict(facts["state_dict"])
    assert next(iter(facts["checkpoint_wrapper"])) == (PROJECTS[form].wrapper or "none")


def test_the_class_that_openpcseg_ignores_is_never_predicted() -> None:
    net = SPVCNN(0.1, classifier="levels").eval()
    feats, coords = scan(100)
    with torch.no_grad():
        out = net(feats, coords)
    state = foreign_state(net, "openpcseg")
    logits = out.taps["decoder"] @ state["classifier.0.weight"].T + state["classifier.0.bias"]
    torch.testing.assert_close(logits[:, 1:], out.logits)
    assert (logits[:, 0] == NEVER).all()


@pytest.mark.parametrize(
    ("form", "net", "message"),
    [
        ("torchsparse", lambda: MinkUNet(0.1, depth=34), "depth=34, classifier=last; expected.*: mmdetection3d"),
        ("torch-pointcloud", lambda: MinkUNet(0.1), "torch-pointcloud has no MinkUNet"),
        ("openpcseg", lambda: SPVCNN(0.1), "has: torchsparse, mmdetection3d, torch-pointcloud"),
        ("mmdetection3d", lambda: SPVCNN(0.1, classifier="levels"), "expected a format that has: openpcseg"),
        ("openpcseg", lambda: SPVNAS(spec()), "OpenPCSeg has no SPVNAS with classifier=last; .*: torchsparse"),
        ("torchsparse", lambda: SPVNAS(spec(), classifier="levels"), "none does"),
        ("mmdetection3d", lambda: Own(), "has no Own with layers of its own; .*: torchsparse"),
    ],
)
def test_networks_that_a_project_does_not_have(form: str, net: Callable[[], Backbone], message: str) -> None:
    with pytest.raises(UserError, match=rf"format={form}: .*{message}"):
        foreign_state(net(), form)


def spec() -> ControlFile:
    return fixed_widths(0.1)


class Own(Backbone):
    """A network of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)


class Derived(MinkUNet):
    """One of ours, changed."""


def test_networks_of_ones_own_go_out_under_their_own_names() -> None:
    assert list(foreign_state(Own(), "torchsparse")) == ["layer.weight", "layer.bias"]
    assert foreign_state(Derived(0.1), "mmdetection3d").keys() == foreign_state(MinkUNet(0.1), "mmdetection3d").keys()


def mmdetection3d() -> tuple[State, MinkUNet]:
    net = filled(MinkUNet, 1)
    return foreign_state(net, "mmdetection3d"), net


NESTED: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"meta": {"epoch": 3}, "state_dict": state},
    "model": lambda state: {"model": state},
    "two deep": lambda state: {"model": {"state_dict": state, "step": 3}},
    "module.": lambda state: {"state_dict": {f"module.{name}": value for name, value in state.items()}},
    "compiled": lambda state: {"state_dict": {f"_orig_mod.{name}": value for name, value in state.items()}},
    "of a larger model": lambda state: {f"teacher.model.{name}": value for name, value in state.items()},
    "half precision": lambda state: {name: v.half() if v.is_floating_point() else v for name, v in state.items()},
}


@pytest.mark.parametrize("form", NESTED)
def test_whatever_it_is_wrapped_in(tmp_path: Path, form: str) -> None:
    state, net = mmdetection3d()
    torch.save(NESTED[form](state), tmp_path / "file")
    again = filled(MinkUNet, 2)
    assert load_pretrained(tmp_path / "file", again).unexpected == ()
    assert same(net.half().float() if form == "half precision" else net, again)


@pytest.mark.parametrize("wrapper", [None, "model_state"])
def test_openpcseg_is_told_by_its_wrapper_or_its_classes(tmp_path: Path, wrapper: str | None) -> None:
    net, again = filled(SPVCNN, 1, classifier="levels"), filled(SPVCNN, 2, classifier="levels")
    state = foreign_state(net, "openpcseg")
    assert len(state["classifier.0.bias"]) == 20
    state = {f"module.{name}": value for name, value in state.items()}
    torch.save({wrapper: state, "epoch": 36, "version": "1"} if wrapper else state, tmp_path / "file")
    assert "OpenPCSeg without its class unlabeled" in load_pretrained(tmp_path / "file", again).kind
    assert same(net, again)


def test_twenty_classes_of_another_kind_stay(tmp_path: Path) -> None:
    """A file of mit-han-lab/spvnas keeps all its rows: no class of its is `unlabeled`."""
    net, again = filled(SPVCNN, 1, num_classes=20), filled(SPVCNN, 2, num_classes=20)
    torch.save({"model": foreign_state(net, "torchsparse")}, tmp_path / "file")
    assert "mit-han-lab/spvnas" in load_pretrained(tmp_path / "file", again).kind
    assert same(net, again)


def test_minkunet_of_mit_han_lab_without_its_idle_branch(tmp_path: Path) -> None:
    weights = {name: v for name, v in original_weights(0.1).items() if not name.startswith("point_transforms")}
    torch.save({"model": weights}, tmp_path / "file")
    report = load_pretrained(tmp_path / "file", MinkUNet(0.1))
    assert (report.missing, report.unexpected, report.unused) == ((), (), ())


def refused(path: Path, content: Any, net: Backbone) -> str:
    torch.save(content, path)
    before = [value.clone() for value in net.state_dict().values()]
    with pytest.raises(UserError) as error:
        load_pretrained(path, net)
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values(), strict=True))
    assert f"model.init_from={path}" in str(error.value)
    return str(error.value)


def test_a_file_of_another_engine_is_refused(tmp_path: Path) -> None:
    state, _ = mmdetection3d()
    spconv = {name.replace("conv_input.0.net.", "conv_input.0."): value for name, value in state.items()}
    message = refused(tmp_path / "file", {"state_dict": spconv}, MinkUNet(0.1))
    assert "mmdetection3d for spconv or MinkowskiEngine" in message
    assert "Take a file of a config with torchsparse in its name" in message


def test_a_file_of_nobody_is_refused(tmp_path: Path) -> None:
    message = refused(tmp_path / "file", {"encoder.conv.weight": torch.zeros(3)}, MinkUNet(0.1))
    assert "It holds encoder.conv.weight" in message
    assert "mit-han-lab/spvnas, mmdetection3d, OpenPCSeg, torch-pointcloud and our own are read" in message


def test_a_network_of_other_settings_is_refused_with_the_right_ones(tmp_path: Path) -> None:
    with torch.device("meta"):
        state = foreign_state(MinkUNet(0.5, depth=34, classifier="levels"), "openpcseg")
    state = {name: torch.zeros(value.shape) for name, value in state.items()}
    message = refused(tmp_path / "file", {"model_state": state}, MinkUNet(0.1))
    assert "OpenPCSeg without its class unlabeled, MinkUNet cr=0.5 depth=34 classifier=levels) does not fit" in message


@pytest.mark.parametrize(("form", "reads"), [("mmdetection3d", "last"), ("openpcseg", "levels")])
def test_a_point_branch_is_not_dropped_without_a_word(tmp_path: Path, form: str, reads: str) -> None:
    """Only MinkUNet of mit-han-lab/spvnas holds one of no use; elsewhere the file is of SPVCNN."""
    state = wrapped(foreign_state(filled(SPVCNN, 1, classifier=reads), form), PROJECTS[form])
    message = refused(tmp_path / "file", state, MinkUNet(0.1, classifier=reads))
    assert "SPVCNN depth=18" in message
    assert "unexpected point_transforms.0.0.weight" in message


def test_safetensors(tmp_path: Path) -> None:
    net, again = filled(SPVCNN, 1), filled(SPVCNN, 2)
    state = foreign_state(net, "torch-pointcloud")
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(state, {"format": "pt"}))
    assert load_pretrained(tmp_path / "model.safetensors", again).unexpected == ()
    assert same(net, again)


#: Written by hand after the description of the format.
BY_HAND = {
    "a": ({"dtype": "F16", "shape": [3], "data_offsets": [0, 6]}, torch.tensor([1.0, -2.0, 0.5], dtype=torch.float16)),
    "b": ({"dtype": "F32", "shape": [1, 2], "data_offsets": [6, 14]}, torch.tensor([[1.0, -2.0]])),
    "c": ({"dtype": "I64", "shape": [], "data_offsets": [14, 22]}, torch.tensor(7)),
    "d": ({"dtype": "F32", "shape": [0, 4], "data_offsets": [22, 22]}, torch.zeros(0, 4)),
}
BYTES = "003c00c00038" + "0000803f" + "000000c0" + "0700000000000000"


def by_hand(**changes: Any) -> bytes:
    entries = {name: entry for name, (entry, _) in BY_HAND.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries, **changes}).encode()
    return len(header).to_bytes(8, "little") + header + bytes.fromhex(BYTES)


def test_the_format_of_safetensors(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(by_hand())
    read = read_safetensors(tmp_path / "file")
    assert list(read) == list(BY_HAND)
    for name, (_, want) in BY_HAND.items():
        assert read[name].dtype == want.dtype
        assert torch.equal(read[name], want)


@pytest.mark.parametrize(
    "content",
    [
        by_hand()[:-3],
        by_hand(b={"dtype": "F32", "shape": [1, 3], "data_offsets": [6, 14]}),
        by_hand(b={"dtype": "F32", "shape": [1, 2], "data_offsets": [60, 68]}),
        by_hand(b={"dtype": "F32", "shape": [-1, -2], "data_offsets": [6, 14]}),
        by_hand(b={"dtype": "F8", "shape": [8], "data_offsets": [6, 14]}),
        by_hand(b=3),
        by_hand()[:40],
        (9).to_bytes(8, "little") + b'{"a": [}]',
    ],
)
def test_damaged_safetensors(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        load_pretrained(tmp_path / "file", MinkUNet(0.1))


def test_our_own_names_are_told(tmp_path: Path) -> None:
    net, again = SPVNAS(spec()), SPVNAS(spec())
    for content, kind in (
        ({"model": foreign_state(net, "torchsparse")}, "a state dict in the names of SPVNAS"),
        ({"state_dict": {f"backbone.{name}": v for name, v in net.state_dict().items()}}, "a checkpoint of clusterseg"),
    ):
        torch.save(content, tmp_path / "file")
        assert str(load_pretrained(tmp_path / "file", again)).startswith(f"{kind}; ")
