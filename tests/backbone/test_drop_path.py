"""Stochastic depth: left out scan by scan, on average nothing changes, in evaluation nothing at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from control_table import control_table
from small_network import scan
from tiny import write_control, write_dataset
from tiny_run import configure
from torch import Tensor

from clusterseg.backbone import SPVCNN, SPVNAS, MinkUNet
from clusterseg.backbone.blocks import ResidualBlock
from clusterseg.backbone.drop_path import DropPath, branch_factors
from clusterseg.commands.train import train
from clusterseg.errors import UserError
from clusterseg.runs.checkpoint import read_checkpoint
from clusterseg.sparse import SparseTensor, sparse_tensor


def scans(count: int = 3) -> tuple[Tensor, Tensor]:
    """Features and coordinates of scans of different sizes, shuffled together."""
    parts = [scan(30 + 10 * number, batch=number, seed=number) for number in range(count)]
    feats, coords = (torch.cat(values) for values in zip(*parts, strict=True))
    order = torch.randperm(len(feats), generator=torch.Generator().manual_seed(0))
    return feats[order], coords[order]


def network(kind: str, drop_path: float = 0.0) -> SPVNAS | MinkUNet:
    torch.manual_seed(1)
    if kind == "spvnas":
        return SPVNAS(control_table(), num_classes=7, dropout=0.0, drop_path=drop_path)
    if kind == "spvcnn":
        return SPVCNN(0.1, dropout=0.0, drop_path=drop_path)
    return MinkUNet(0.1, drop_path=drop_path)


def slow_block(block: ResidualBlock, x: SparseTensor, rate: float, seed: int) -> Tensor:
    """A block with a loop over the voxels, in float64."""
    shortcut = x if block.downsample is None else block.downsample(x)
    branch = block.net(x).feats.double()
    torch.manual_seed(seed)
    drawn = torch.rand(3)
    rows = []
    for row, (batch, *_) in enumerate(x.coords.tolist()):
        factor = 0.0 if drawn[batch] < rate else 1 / (1 - rate)
        rows.append((factor * branch[row] + shortcut.feats[row].double()).clamp(min=0))
    return torch.stack(rows)


@pytest.mark.parametrize("project", [False, True])
def test_a_block_is_that_of_a_loop(project: bool) -> None:
    torch.manual_seed(0)
    channels = 6 if project else 4
    block = ResidualBlock(4, 5, channels, project)
    block.drop_path = DropPath(0.5)
    patterns = set()
    for seed in range(12):
        x, _ = sparse_tensor(*scans())
        torch.manual_seed(seed)
        got = block(x).feats
        torch.testing.assert_close(got.double(), slow_block(block, x, 0.5, seed), rtol=1e-5, atol=1e-5)
        torch.manual_seed(seed)
        patterns.add(tuple((torch.rand(3) < 0.5).tolist()))
    assert len(patterns) > 4


def test_gradients_of_a_dropped_branch_are_zero_and_there() -> None:
    """Of a parameter without a gradient data parallelism would wait forever."""
    block = ResidualBlock(4, 5, 4, project=False)
    block.drop_path = DropPath(0.999999)
    feats, coords = scans()
    x, _ = sparse_tensor(feats.requires_grad_(), coords)
    block(x).feats.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in block.net.parameters())
    assert torch.equal(feats.grad, (feats > 0).float())  # the ReLU of the shortcut is left


def test_factors_are_one_on_average() -> None:
    torch.manual_seed(0)
    drawn = branch_factors(40_000, 0.3, torch.device("cpu"))
    assert set(drawn.tolist()) == {0.0, drawn.max().item()}
    assert drawn.mean().item() == pytest.approx(1, abs=4 * (0.3 / 0.7 / 40_000) ** 0.5)
    assert (drawn == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("kind", ["spvnas", "spvcnn", "minkunet"])
def test_rates_rise_and_evaluation_and_zero_change_nothing(kind: str) -> None:
    plain, dropping = network(kind), network(kind, 0.4)
    rates = [layer.rate for layer in dropping.modules() if isinstance(layer, DropPath)]
    assert rates == pytest.approx([0.4 * (i + 1) / len(rates) for i in range(len(rates))])
    assert list(plain.state_dict()) == list(dropping.state_dict())
    feats, coords = scans()
    state = torch.get_rng_state()
    a, b = (net.eval()(feats, coords).logits for net in (plain, dropping))
    assert torch.equal(a, b)
    plain.train()(feats, coords)
    assert torch.equal(torch.get_rng_state(), state), "a rate of 0 draws nothing"
    outputs = []
    for net, seed in ((dropping, 0), (network(kind, 0.4), 0), (dropping, 1), (plain, 0)):
        torch.manual_seed(seed)
        outputs.append(net.train()(feats, coords).logits)
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])
    assert not torch.equal(outputs[0], outputs[3])


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
@pytest.mark.parametrize("kind", ["spvnas", "spvcnn", "minkunet"])
def test_an_impossible_rate(kind: str, rate: float) -> None:
    with pytest.raises(UserError, match=r"model\.backbone\.drop_path=.*at least 0 and below 1"):
        network(kind, rate)


def test_a_resumed_run_drops_the_same(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", {"00": 6})
    settings = [
        f"data.root={tmp_path / 'data'}",
        "data.sequences={train: [0], val: []}",
        "data.num_workers=0",
        f"model.backbone.control={write_control(tmp_path / 'net.config')}",
        "model.backbone.drop_path=0.5",
        "trainer=cpu",
        "trainer.max_epochs=2",
        "logger=none",
        "optim.scheduler._target_=clusterseg.optim.constant",
        "~optim.scheduler.warmup_fraction",
    ]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(configure("train", *settings), whole)
    train(configure("train", *settings, "trainer.max_steps=2"), cut)  # an epoch has three
    train(configure("train", *settings, "ckpt=last"), cut)
    states = [read_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"] for folder in (whole, cut)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
