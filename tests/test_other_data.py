"""Train on one data set and evaluate on another, train on a mixture; each configuration composes and builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from made_sets import write_nuscenes, write_pandaset
from omegaconf import OmegaConf
from tiny import write_control, write_dataset
from tiny_run import configure

from clusterseg.build.prepare import prepare
from clusterseg.commands.check import check
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.train import train
from clusterseg.config.signatures import mistakes
from clusterseg.data.datamodule import ScanDataModule
from clusterseg.data.label_map import load_label_map
from clusterseg.data.readers.frames import read_frame
from clusterseg.errors import UserError
from clusterseg.files import CONF

NAMES = load_label_map("semantickitti").class_names
DATA_SETS = sorted(path.stem for path in (CONF / "data").glob("*.yaml") if "streets" not in path.stem)


@pytest.fixture
def panda(tmp_path: Path) -> Path:
    write_pandaset(tmp_path / "panda", {"002": 3, "003": 1})
    return tmp_path / "panda"


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "kitti", {"00": 2, "08": 1})


def run(folder: Path, *overrides: str) -> Path:
    """Train two steps; returns the checkpoint."""
    control = write_control(folder / "net.config")
    settings = [f"model.backbone.control={control}", "trainer=cpu", "trainer.max_steps=2", "data.num_workers=0"]
    train(configure("train", *settings, *overrides), folder / "run")
    return folder / "run/checkpoints/last.ckpt"


def score(checkpoint: Path, folder: Path, *overrides: str) -> dict[str, Any]:
    settings = [f"ckpt={checkpoint}", "trainer=cpu", "pictures=0", "data.num_workers=0"]
    result = evaluate(configure("evaluate", *settings, *overrides), folder)
    assert json.loads((folder / "metrics.json").read_text()) == result
    return result


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_data_set_composes_and_builds(name: str, tmp_path: Path) -> None:
    settings = ["data.label_map=semantickitti"] if name == "folder" else []
    config = configure("train", f"data={name}", *settings, f"model.backbone.control={write_control(tmp_path / 'net')}")
    assert not [*mistakes(json.loads(json.dumps(plain(prepare(config).data))), "data")]
    data = instantiate(config.data, _convert_="all")
    assert isinstance(data, ScanDataModule)
    assert data.inputs.features[:4] == ("x", "y", "z", "remission") and data.voxel_size == 0.05


def plain(config: Any) -> Any:
    return OmegaConf.to_container(config, resolve=True)


def test_semantickitti_to_pandaset(kitti: Path, panda: Path, tmp_path: Path) -> None:
    checkpoint = run(tmp_path, f"data.root={kitti}", "data.sequences={train: [0], val: [8]}", "data.voxel_size=0.1")
    other = ["data=pandaset", f"data.root={panda}", "data.sequences.val=[2]"]
    result = score(checkpoint, tmp_path / "out", *other, "data.label_map=pandaset_as_semantickitti")
    assert list(result["iou"]) == list(NAMES)
    mapped, points = load_label_map("pandaset_as_semantickitti"), 0
    for frame in range(3):
        raw = read_frame(panda / f"002/annotations/semseg/0{frame}.pkl.gz")["class"][:40]
        points += sum(int(mapped.raw_to_train[each]) != 255 for each in raw)
    assert (result["scans"], result["points"]) == (3, points)
    with pytest.raises(
        UserError, match=r"data\.label_map=pandaset has the classes car, .*one of .*pandaset_as_semantickitti"
    ):
        score(checkpoint, tmp_path / "refused", *other)


def test_pandaset_to_semantickitti(kitti: Path, panda: Path, tmp_path: Path) -> None:
    own = ["data=pandaset", f"data.root={panda}", "data.sequences={train: [2], val: [3]}"]
    checkpoint = run(tmp_path, *own, "data.label_map=pandaset_as_semantickitti")
    other = ["data=semantickitti", f"data.root={kitti}", "data.sequences.val=[8]"]
    result = score(checkpoint, tmp_path / "out", *other)
    raw = np.fromfile(next(kitti.glob("08/labels/*.label")), "<u4") & 0xFFFF
    assert result["points"] == sum(int(each) not in (0, 1, 52, 99) for each in raw)
    assert score(checkpoint, tmp_path / "own")["scans"] == 1  # without data=, as in training
    with pytest.raises(UserError, match=r"data\.label_map cannot be set here"):
        score(checkpoint, tmp_path / "refused", "+data.label_map=pandaset_as_semantickitti")


def test_other_channels_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "val").mkdir()
    columns = "[x,y,z,intensity,ring]"
    np.save(tmp_path / "val/a.npy", np.random.default_rng(0).random((50, 5)).astype(np.float32))
    np.zeros(50, "<u4").tofile(tmp_path / "val/a.label")
    other = ["data=folder", f"data.root={tmp_path}", f"data.columns={columns}", "data.remission=1"]
    other += ["data.features=[x,y,z,remission,ring]", "data.label_map=semantickitti"]
    with pytest.raises(UserError, match=r"takes x, y, z, remission, the data has x, y, z, remission, ring"):
        score(tiny_run / "run/checkpoints/best.ckpt", tmp_path / "out", *other)


def test_a_mixture_trains_resumes_and_evaluates(kitti: Path, panda: Path, tmp_path: Path) -> None:
    mixed = [
        "data=mixture",
        f"data.parts.semantickitti.reader.root={kitti}",
        "data.parts.semantickitti.reader.sequences={train: [0], val: [8]}",
        f"data.parts.pandaset.reader.root={panda}",
        "data.parts.pandaset.reader.sequences={train: [2], val: [3]}",
        "data.batch_size=1",
    ]
    checkpoint = run(tmp_path, *mixed)
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["global_step"] == 2 and saved["inputs"]["label_map"]["name"] == "semantickitti"
    run(tmp_path, *mixed, "trainer.max_steps=3", "ckpt=last")
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 3
    assert score(checkpoint, tmp_path / "out")["scans"] == 1
    assert score(checkpoint, tmp_path / "all", "split=train")["scans"] == 5


def test_the_check_reads_another_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_nuscenes(tmp_path / "nuscenes", {"scene-0061": 2, "scene-0103": 1})
    overrides = ["data=nuscenes", f"data.root={tmp_path / 'nuscenes'}", "data.version=v1.0-mini"]
    check(configure("check", *overrides), tmp_path / "out")
    assert "driveable_surface" in capsys.readouterr().out


def test_roots_of_parts_become_absolute(kitti: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    control = f"model.backbone.control={write_control(tmp_path / 'net')}"
    config = configure("train", "data=mixture", "data.parts.pandaset.reader.root=panda", control)
    assert prepare(config).data.parts.pandaset.reader.root == str(tmp_path / "panda")


def test_real_scans_both_ways(shared: Path, tmp_path: Path) -> None:
    kitti, panda = shared / "data/semantickitti_mini", tmp_path / "panda"
    panda.mkdir()
    (panda / "002").symlink_to(shared / "data/others/pandaset/002")
    own = [f"data.root={kitti}", "data.sequences={train: [0], val: [8]}"]
    other = [f"data.root={panda}", "data.label_map=pandaset_as_semantickitti"]
    few = "data.max_scans=1"
    small = ["data.max_scans=2", "data.max_voxels=4000", "data.batch_size=1"]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    checkpoint = run(tmp_path / "a", *own, *small)
    result = score(
        checkpoint, tmp_path / "a/out", "data=pandaset", *other, "data.sequences.val=[2]", "data.max_scans=1"
    )
    with np.load(shared / "data/others/pandaset/002_00.npz") as arrays:
        labels = arrays["class"][arrays["d"] == 0]
    ignored = [0, 1, 2, 3, 4, 24, 32, 33, 34, 35, 37, 38, 39, 40, 42]
    assert (result["scans"], result["points"]) == (1, int((~np.isin(labels, ignored)).sum()))
    both = ["data=pandaset", *other, "data.sequences={train: [2], val: [2]}"]
    checkpoint = run(tmp_path / "b", *both, *small)
    result = score(checkpoint, tmp_path / "b/out", "data=semantickitti", *own, few)
    raw = np.fromfile(kitti / "sequences/08/labels/000000.label", "<u4") & 0xFFFF
    assert (result["scans"], result["points"]) == (1, int((~np.isin(raw, [0, 1, 52, 99])).sum()))
