"""Control files of random networks within bounds."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from tiny import scan

from clusterseg.backbone import SPVNAS
from clusterseg.backbone.control import read_control
from clusterseg.backbone.cost import count_macs, count_parameters, scan_size
from clusterseg.backbone.search_space import SearchSpace
from clusterseg.commands.profile import read_voxels
from clusterseg.commands.search import search
from clusterseg.data.scan import write_scan
from clusterseg.errors import UserError
from clusterseg.files import CONF


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_scan(tmp_path / "scan.bin", scan(np.random.default_rng(0), 300)[0])
    return tmp_path / "scan.bin"


def configure(file: Path, output: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("search", [f"scan={file}", f"output={output}", *overrides])


def test_files_and_their_costs(file: Path, tmp_path: Path) -> None:
    found = search(configure(file, tmp_path / "nets", "count=3", "seed=5", "max_mparams=9"), tmp_path)
    with open(tmp_path / "nets" / "networks.csv", newline="") as table:
        rows = list(csv.reader(table))
    assert rows[0] == ["file", "parameters (M)", "MACs (G)"]
    written = [path.name for path in (tmp_path / "nets").iterdir()]
    assert sorted(written) == sorted(["networks.csv", *(row[0] for row in rows[1:])])
    size = scan_size(read_voxels(file, 0.05)[1])
    for (name, parameters, gmacs), candidate in zip(rows[1:], found, strict=True):
        control = read_control(tmp_path / "nets" / name)
        assert control == SearchSpace().sample(candidate.seed)
        net = SPVNAS(control)
        assert count_parameters(net) / 1e6 == candidate.parameters <= 9
        assert count_macs(net, size) / 1e9 == candidate.gmacs
        assert (parameters, gmacs) == (f"{candidate.parameters:.2f}", f"{candidate.gmacs:.1f}")


def test_a_bound_on_macs_turns_networks_down(file: Path, tmp_path: Path) -> None:
    free = search(configure(file, tmp_path / "a", "count=6"), tmp_path)
    bound = sorted(c.gmacs for c in free)[2]
    kept = search(configure(file, tmp_path / "b", "count=3", f"max_gmacs={bound}"), tmp_path)
    assert [c.seed for c in kept] == [c.seed for c in free if c.gmacs <= bound]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("count=0", "count=0: expected an integer of at least 1"),
        ("max_mparams=0.1", r"max_mparams=0\.1: 0 of 1 networks found in 3 samples; raise the bounds"),
        ("scan=absent.bin", r"absent\.bin: no such scan"),
        ("output=scan.bin/x", "output=scan.bin/x cannot be made"),
    ],
)
def test_mistakes(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, message: str) -> None:
    monkeypatch.setattr("clusterseg.commands.search.PATIENCE", 3)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        search(configure(file, tmp_path / "nets", "count=1", override), tmp_path)
