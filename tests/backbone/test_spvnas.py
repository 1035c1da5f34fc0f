from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from control_table import control_table
from small_network import network, scan
from torch import Tensor

from clusterseg.backbone import SPVNAS


def test_output_is_in_the_order_of_the_voxels_given() -> None:
    net = network().eval()
    feats, coords = scan(900)
    shuffle = torch.randperm(len(feats), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        out, shuffled = net(feats, coords), net(feats[shuffle], coords[shuffle])
    assert not torch.equal(shuffle, torch.arange(len(shuffle)))
    assert torch.equal(shuffled.logits, out.logits[shuffle])
    for name, tap in out.taps.items():
        assert torch.equal(shuffled.taps[name], tap[shuffle]), name
    assert out.logits.std(0).min() > 1e-3, "logits that do not vary would hide an error"


def test_a_scan_alone_is_the_scan_in_a_batch() -> None:
    net = network().eval()
    scans = [scan(900, 0, seed=0), scan(500, 1, seed=1), scan(1, 3, seed=2)]
    feats, coords = (torch.cat(parts) for parts in zip(*scans, strict=True))
    with torch.inference_mode():
        together = net(feats, coords)
        alone = [net(f, c * torch.tensor([0, 1, 1, 1], dtype=torch.int32)) for f, c in scans]
    torch.testing.assert_close(together.logits, torch.cat([o.logits for o in alone]), rtol=0, atol=1e-5)
    for name, tap in together.taps.items():
        torch.testing.assert_close(tap, torch.cat([o.taps[name] for o in alone]), rtol=0, atol=1e-5)


def test_a_shift_by_whole_cells_changes_nothing() -> None:
    """Sixteen voxels are one cell of the coarsest level; negative coordinates are like any others."""
    net = network().eval()
    feats, coords = scan(900)
    with torch.inference_mode():
        here, there = net(feats, coords), net(feats, coords + torch.tensor([0, -512, 4096, 16], dtype=torch.int32))
    torch.testing.assert_close(there.logits, here.logits, rtol=0, atol=1e-5)


def test_taps_have_the_announced_channels() -> None:
    net = network()
    feats, coords = scan(300)
    out = net(feats, coords)
    assert out.logits.shape == (len(feats), net.num_classes) == (len(feats), 7)
    assert (
        {name: tap.shape[1] for name, tap in out.taps.items()} == net.tap_channels == {"bottleneck": 20, "decoder": 12}
    )
    torch.testing.assert_close(net.classifier(out.taps["decoder"]), out.logits)


@pytest.mark.parametrize("voxels", [1, 2, 300])
def test_every_parameter_learns(voxels: int) -> None:
    """Forward and backward in training, down to a scan of one voxel, at negative coordinates."""
    net = network().train()
    feats, coords = scan(voxels)
    net(feats, coords).logits.square().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
    if voxels == 300:
        assert all(p.grad.abs().max() > 0 for n, p in net.named_parameters() if not n.endswith("conv.bias"))


def test_dropout_acts_on_the_decoder_in_training_only() -> None:
    net = network().train()
    feats, coords = scan(900)
    with torch.no_grad():
        first, second = net(feats, coords), net(feats, coords)
        assert torch.equal(first.taps["bottleneck"], second.taps["bottleneck"])
        assert not torch.equal(first.logits, second.logits)
        net.eval()
        assert torch.equal(net(feats, coords).logits, net(feats, coords).logits)


def test_inputs_are_left_as_they_are() -> None:
    feats, coords = scan(300)
    copies = feats.clone(), coords.clone()
    network().train()(feats, coords)
    assert torch.equal(feats, copies[0])
    assert torch.equal(coords, copies[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(dtype: torch.dtype) -> None:
    net = network().eval()
    feats, coords = scan(300)

    def run() -> tuple[Tensor, Tensor]:
        net.zero_grad()
        logits = net(feats, coords).logits.float()
        logits.square().mean().backward()
        return logits.detach(), torch.cat([p.grad.flatten() for p in net.parameters()])

    full = run()
    with torch.autocast("cpu", dtype=dtype):
        assert net(feats, coords).logits.dtype == dtype
        half = run()
    for what, got, want in zip(("logits", "gradients"), half, full, strict=True):
        error = float((got - want).norm() / want.norm())
        assert 0 < error <= 3e-2, f"{what} differ by {error:.2e}"


@pytest.mark.parametrize(
    "changes",
    [
        {"depths": (1, 1, 1, 1, 1, 1, 1, 1)},
        {"depths": (3, 2, 1, 4, 2, 1, 3, 2)},
        {"depths": (2, 1, 2, 1, 2, 1, 2, 1), "project_all": True},
    ],
    ids=["shallow", "mixed", "projected"],
)
def test_other_depths_and_shortcuts(changes: dict[str, Any]) -> None:
    net = network(**changes).train()
    depths = [len(stage.feature) for stage in (*net.downsample, *net.upsample)]
    assert tuple(depths) == changes["depths"]
    for stage in (*net.downsample, *net.upsample):
        for j, block in enumerate(stage.feature):
            assert (block.downsample is None) == (j > 0 and "project_all" not in changes)
    feats, coords = scan(300)
    net(feats, coords).logits.square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in net.parameters() if p.dim() > 1)


def test_the_identity_shortcut_adds_its_input() -> None:
    """With the last BatchNorm of the second block at zero, the block must hand its (positive) input on."""
    net = network().eval()
    block = net.downsample[1].feature[1]
    torch.nn.init.zeros_(block.net[1].net.bn.weight)
    torch.nn.init.zeros_(block.net[1].net.bn.bias)
    seen: list[tuple[Tensor, Tensor]] = []
    block.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].feats, output.feats)))
    with torch.no_grad():
        net(*scan(300))
    assert torch.equal(*seen[0])
    assert seen[0][0].abs().max() > 0


def test_a_file_and_its_table_build_the_same_network(tmp_path: Path) -> None:
    path = tmp_path / "net.config"
    path.write_text(json.dumps(control_table()))
    from_file, from_table = SPVNAS(path), SPVNAS(control_table())
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (from_file, from_table)]
    assert shapes[0] == shapes[1]


def test_the_published_control_file_builds_for_other_inputs_and_classes(shared: Path) -> None:
    net = SPVNAS(shared / "golden/net.config", in_channels=5, num_classes=3).eval()
    feats, coords = scan(200)
    with torch.inference_mode():
        out = net(torch.cat([feats, feats[:, :1]], 1), coords)
    assert out.logits.shape == (200, 3)
