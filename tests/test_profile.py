"""The table of a network's layers, and the multiply-accumulates that were published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from tiny import scan, write_control

from clusterseg.backbone import SPVCNN, SPVNAS, MinkUNet
from clusterseg.backbone.cost import count_macs, count_parameters, scan_size
from clusterseg.commands.profile import profile, read_voxels
from clusterseg.data.scan import write_scan
from clusterseg.errors import UserError
from clusterseg.files import CONF


def configure(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("profile", ["repeats=1", "device=cpu", *overrides])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_scan(tmp_path / "scan.bin", scan(np.random.default_rng(0), 300)[0])
    return tmp_path / "scan.bin"


@pytest.mark.parametrize("model", ["spvnas_cluster", "spvcnn", "minkunet"])
def test_every_layer_is_in_the_table(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    size = f"model.backbone.control={write_control(tmp_path / 'net')}" if "nas" in model else "model.backbone.cr=0.1"
    result = profile(configure(f"model={model}", size, f"scan={file}"), tmp_path)
    printed = capsys.readouterr().out
    layers = {layer.name: layer for layer in result.layers}
    assert layers.keys() >= {"stem.0", "upsample.3.feature.0.net.0.net.conv", "classifier.linear"}
    assert all(name.removesuffix(".conv").removesuffix(".net") in printed for name in layers)
    net = {"spvnas_cluster": SPVNAS, "spvcnn": SPVCNN, "minkunet": MinkUNet}[model](
        tmp_path / "net" if model == "spvnas_cluster" else 0.1
    )
    coords = read_voxels(file, 0.05)[1]
    assert result.parameters == count_parameters(net)
    assert result.macs == count_macs(net, scan_size(coords))
    voxels = [len(torch.unique(coords[:, 1:] // stride, dim=0)) for stride in (1, 2, 4, 8, 16)]
    assert layers["stem.0"].voxels == layers["classifier.linear"].voxels == voxels[0]
    for i in range(4):
        assert layers[f"downsample.{i}.transition.net.conv"].voxels == voxels[i + 1]
        assert layers[f"upsample.{i}.transition.net.conv"].voxels == voxels[3 - i]
    assert 0 < sum(layer.milliseconds for layer in result.layers) < result.milliseconds
    assert f"{result.parameters / 1e6:.2f} M parameters" in printed


#: G MACs as published for width multipliers 0.5, 0.64 and 1, and for SPVNAS 10.8M.
PUBLISHED = {
    "minkunet": (28.5, 45.9, 113.9),
    "spvcnn": (30.0, 47.4, 118.6),
    "spvnas": (64.5,),
}


def test_published_macs_on_a_real_scan(shared: Path) -> None:
    """MACs follow the voxels and their neighbours, from 63 to 82 G by scene: this scan is near the published mean."""
    scan_file = shared / "data/semantickitti_mini/sequences/00/velodyne/000000.bin"
    if not scan_file.is_file():
        pytest.skip(f"no real scan at {scan_file}")
    size = scan_size(read_voxels(scan_file, 0.05)[1])
    with torch.device("meta"):
        ours = {
            "minkunet": [count_macs(MinkUNet(cr), size) for cr in (0.5, 0.64, 1.0)],
            "spvcnn": [count_macs(SPVCNN(cr), size) for cr in (0.5, 0.64, 1.0)],
            "spvnas": [count_macs(SPVNAS(shared / "golden/net.config"), size)],
        }
    for name, macs in ours.items():
        assert [m / 1e9 for m in macs] == pytest.approx(PUBLISHED[name], rel=0.03)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("scan=absent.bin", r"absent\.bin: no such scan"),
        ("repeats=0", "repeats=0: expected an integer of at least 1"),
        ("device=tpu9", "device=tpu9 cannot be used"),
        ("voxel_size=1e-9", "data.voxel_size"),
        ("voxel_size=0", "voxel_size=0: expected a number above 0"),
    ],
)
def test_mistakes(file: Path, tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        profile(configure(f"scan={file}", override), tmp_path)
