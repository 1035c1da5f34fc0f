"""The elastic space: every control file drawn from it is a network that learns and can be published."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from small_network import scan

from clusterseg.backbone import SPVNAS, MinkUNet
from clusterseg.backbone.control import parse_control
from clusterseg.backbone.cost import count_macs, count_parameters, scan_size
from clusterseg.backbone.pretrained import load_pretrained
from clusterseg.backbone.published import published_state
from clusterseg.backbone.search_space import SearchSpace
from clusterseg.sparse import Conv3d

#: A quarter of the published widths, so that many networks take seconds.
NARROW = SearchSpace(
    lowest=(8, 4, 8, 16, 32, 32, 16, 12, 12), highest=(8, 12, 24, 48, 96, 96, 48, 32, 32), step=2, least=4
)


def check(space: SearchSpace, seed: int, path: Path) -> None:
    """Write the control file, build from it, one step forward and back, and publish and read the weights again."""
    torch.manual_seed(seed)
    table = space.sample(seed)
    (path / "net.config").write_text(json.dumps(table))
    net = SPVNAS(path / "net.config", num_classes=5)
    logits = net(*scan(60, seed=seed)).logits
    assert logits.shape == (60, 5)
    logits.logsumexp(1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    torch.save({"model": published_state(net)}, path / "weights.pt")
    again = SPVNAS(path / "net.config", num_classes=5)
    assert len(load_pretrained(path / "weights.pt", again).matched) == len(net.state_dict())
    for a, b in zip(again.state_dict().values(), net.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_random_networks(tmp_path: Path) -> None:
    for seed in range(20):
        check(NARROW, seed, tmp_path)


@pytest.mark.parametrize("seed", range(2))
def test_networks_of_the_published_space(tmp_path: Path, seed: int) -> None:
    check(SearchSpace(), seed, tmp_path)


def test_samples_lie_in_the_space_and_reach_its_bounds() -> None:
    space = SearchSpace()
    specs = [parse_control(space.sample(seed)) for seed in range(400)]
    assert all(spec in space for spec in specs)
    depths = Counter(len(stage.blocks) for spec in specs for stage in spec.downsample + spec.upsample)
    assert set(depths) == {1, 2}
    assert abs(depths[1] / depths[2] - 1) < 0.15
    deepest = [spec.downsample[3].out_channels for spec in specs]
    assert min(deepest) <= 132
    assert max(deepest) >= 376
    inner = [block.mid_channels for spec in specs for block in spec.upsample[0].blocks]
    assert min(inner) <= 56
    assert max(inner) >= 376
    assert all(width % 4 == 0 for width in deepest + inner)


def test_a_seed_gives_one_network() -> None:
    assert SearchSpace().sample(3) == SearchSpace().sample(3) != SearchSpace().sample(4)


def test_the_published_network_lies_in_the_space(shared: Path) -> None:
    table = json.loads((shared / "golden/net.config").read_text())
    assert table in SearchSpace()
    assert table | {"downsample.1.transition": 60} not in SearchSpace()
    assert table | {"upsample.0.feature.layers.1.net.layers.0": 388} not in SearchSpace()
    assert table not in NARROW


@pytest.mark.parametrize("kind", ["spvnas", "minkunet"])
def test_macs_are_the_pairs_that_the_layers_meet(kind: str) -> None:
    """Each layer's MACs from a run: a linear map of ones to ones counts its own pairs."""
    net = SPVNAS(NARROW.sample(1)) if kind == "spvnas" else MinkUNet(0.1)
    feats, coords = scan(400, seed=2)
    counted = []

    def count(layer: torch.nn.Module, inputs: tuple, output: object) -> None:
        if isinstance(layer, Conv3d):
            probe = Conv3d(1, 1, layer.kernel_size, layer.stride, layer.transposed).double()
            torch.nn.init.ones_(probe.kernel)
            x = inputs[0]
            pairs = probe(x.with_feats(torch.ones(len(x.feats), 1, dtype=torch.float64))).feats.sum().item()
            counted.append(round(pairs) * layer.in_channels * layer.out_channels)
        else:
            assert isinstance(layer, torch.nn.Linear)
            counted.append(len(inputs[0]) * layer.in_features * layer.out_features)

    for layer in net.modules():
        if isinstance(layer, Conv3d | torch.nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        net.eval()(feats, coords)
    assert count_macs(net, scan_size(coords)) == sum(counted)


def test_parameters_of_the_published_network(shared: Path) -> None:
    with torch.device("meta"):
        net = SPVNAS(shared / "golden/net.config")
    assert count_parameters(net) == 10_788_891
