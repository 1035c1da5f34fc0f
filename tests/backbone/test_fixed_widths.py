"""MinkUNet and SPVCNN: published sizes, the layers of the original, and the same function as plain loops over them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from small_network import scan
from torch import nn

from clusterseg.backbone import SPVCNN, Backbone, MinkUNet
from clusterseg.backbone.widths import fixed_widths
from clusterseg.errors import UserError
from clusterseg.sparse import SparseTensor

NETWORKS = {"spvcnn": SPVCNN, "minkunet": MinkUNet}
#: Those, and the deeper ones whose classifier reads three levels.
VARIANTS: dict[str, Callable[..., Backbone]] = {
    **NETWORKS,
    "spvcnn34, levels": partial(SPVCNN, depth=34, classifier="levels"),
    "minkunet34, levels": partial(MinkUNet, depth=34, classifier="levels"),
}


#: Millions of parameters as published. At 0.5 the layers of the original hold 5.44 and 5.45, published as 5.5.
PUBLISHED = {
    ("minkunet", 0.5): 5.44,
    ("minkunet", 0.64): 8.8,
    ("minkunet", 1.0): 21.7,
    ("spvcnn", 0.5): 5.45,
    ("spvcnn", 0.64): 8.8,
    ("spvcnn", 1.0): 21.8,
}


@pytest.mark.parametrize(("name", "cr"), PUBLISHED)
def test_published_parameter_counts(name: str, cr: float) -> None:
    count = sum(p.numel() for p in NETWORKS[name](cr).parameters())
    assert count / 1e6 == pytest.approx(PUBLISHED[name, cr], abs=0.05 if cr > 0.5 else 0.005)


def original_layers(cs: list[int], blocks: tuple[int, ...]) -> list[tuple[str, int, int]]:
    """Convolutions of the original MinkUNet in order, written out stage by stage: kernel, inputs, outputs."""
    layers = [("3", 4, cs[0]), ("3", cs[0], cs[0])]
    for i in range(1, 5):
        layers += [("2", cs[i - 1], cs[i - 1]), ("3", cs[i - 1], cs[i]), ("3", cs[i], cs[i])]
        layers += [("1", cs[i - 1], cs[i])] * (cs[i - 1] != cs[i])
        layers += [("3", cs[i], cs[i])] * 2 * (blocks[i - 1] - 1)
    for i, skip in zip(range(5, 9), (3, 2, 1, 0), strict=True):
        layers += [("2", cs[i - 1], cs[i]), ("3", cs[i] + cs[skip], cs[i]), ("3", cs[i], cs[i])]
        layers += [("1", cs[i] + cs[skip], cs[i])] + [("3", cs[i], cs[i])] * 2
    return layers


@pytest.mark.parametrize("cr", [0.5, 0.64, 1.0])
@pytest.mark.parametrize(("depth", "blocks"), [(18, (2, 2, 2, 2)), (34, (2, 3, 4, 6))])
@pytest.mark.parametrize("name", NETWORKS)
def test_convolutions_are_those_of_the_original(name: str, depth: int, blocks: tuple[int, ...], cr: float) -> None:
    widths = [int(cr * c) for c in (32, 32, 64, 128, 256, 256, 128, 96, 96)]
    with torch.device("meta"):
        net = NETWORKS[name](cr, depth=depth)
    kernels = [p for key, p in net.named_parameters() if key.endswith("kernel")]
    side = {2: "1", 8: "2", 27: "3"}
    ours = [(side[p.shape[0]] if p.dim() == 3 else "1", *p.shape[-2:]) for p in kernels]
    assert ours == original_layers(widths, blocks)


@pytest.mark.parametrize("name", VARIANTS)
def test_output_in_the_order_of_the_voxels(name: str) -> None:
    torch.manual_seed(0)
    net = VARIANTS[name](0.1, num_classes=5).eval()
    feats, coords = scan(200)
    with torch.no_grad():
        out = net(feats, coords)
        back = net(feats.flip(0), coords.flip(0))
    assert out.logits.shape == (200, 5)
    assert {tap: value.shape for tap, value in out.taps.items()} == {
        tap: (200, channels) for tap, channels in net.tap_channels.items()
    }
    for a, b in ((out.logits, back.logits), (out.taps["bottleneck"], back.taps["bottleneck"])):
        torch.testing.assert_close(a, b.flip(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(net.classifier(out.taps["decoder"]), out.logits)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_learns(name: str) -> None:
    torch.manual_seed(0)
    net = VARIANTS[name](0.1).train()
    out = net(*scan(300))
    (out.logits.square().mean() + out.taps["bottleneck"].square().mean()).backward()
    without = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert [key for key in without if not key.endswith("net.conv.bias")] == []


def test_minkunet_bottleneck_is_the_deepest_stage() -> None:
    """Voxels 16 apart are each alone at the deepest level, where interpolation gives the voxel itself."""
    torch.manual_seed(0)
    net = MinkUNet(0.1).eval()
    coords = torch.tensor([[0, 0, 0, 0], [0, 64, 0, 0], [1, 0, 0, 0]], dtype=torch.int32)
    deepest: list[torch.Tensor] = []
    net.downsample[-1].register_forward_hook(lambda module, inputs, out: deepest.append(out.feats))
    with torch.no_grad():
        out = net(torch.randn(3, 4), coords)
    torch.testing.assert_close(out.taps["bottleneck"], deepest[0])


def test_the_classifier_reads_three_levels_by_interpolation() -> None:
    """Against a loop over voxels and their eight corners, in float64."""
    torch.manual_seed(0)
    net = MinkUNet(0.1, classifier="levels").eval()
    levels: list[SparseTensor] = []
    for stage in (net.downsample[3], net.upsample[1], net.upsample[3]):
        stage.register_forward_hook(lambda module, inputs, out: levels.append(out))
    feats, coords = scan(80)
    with torch.no_grad():
        out = net(feats, coords)
    assert [level.stride for level in levels] == [16, 4, 1]
    tables = [dict(zip(map(tuple, x.coords.tolist()), x.feats.double(), strict=True)) for x in levels]
    for voxel, read in zip(coords.tolist(), out.taps["decoder"], strict=True):
        parts = [interpolated(table, x.stride, voxel) for table, x in zip(tables, levels, strict=True)]
        torch.testing.assert_close(read.double(), torch.cat(parts), rtol=1e-5, atol=1e-6)


def interpolated(table: dict[tuple[int, ...], torch.Tensor], stride: int, voxel: list[int]) -> torch.Tensor:
    batch, *position = voxel
    low = [p // stride * stride for p in position]
    fraction = [(p - q) / stride for p, q in zip(position, low, strict=True)]
    total, weights = torch.zeros(len(next(iter(table.values()))), dtype=torch.float64), 0.0
    for corner in itertools.product((0, 1), repeat=3):
        at = (batch, *(q + stride * c for q, c in zip(low, corner, strict=True)))
        weight = math.prod(f if c else 1 - f for f, c in zip(fraction, corner, strict=True))
        if at in table:
            total, weights = total + weight * table[at], weights + weight
    return total / (weights + 1e-8)


def test_spvcnn_reads_the_points_after_each_meeting() -> None:
    """The last of the three levels is what the classifier on one level reads."""
    torch.manual_seed(0)
    last, levels = SPVCNN(0.1).eval(), SPVCNN(0.1, classifier="levels").eval()
    weights = {key: value for key, value in last.state_dict().items() if not key.startswith("classifier")}
    levels.load_state_dict(weights, strict=False)
    with torch.no_grad():
        one, three = (net(*scan(100)).taps for net in (last, levels))
    torch.testing.assert_close(three["decoder"][:, -9:], one["decoder"])
    torch.testing.assert_close(three["decoder"][:, :25], one["bottleneck"])
    assert three["decoder"].shape[1] == 25 + 12 + 9


def test_spvcnn_without_its_point_branch_is_minkunet() -> None:
    """With the branch shut, and each voxel alone in its cells, points and voxels carry the same features."""
    torch.manual_seed(0)
    mink, spv = MinkUNet(0.1).eval(), SPVCNN(0.1).eval()
    spv.load_state_dict(mink.state_dict(), strict=False)
    for branch in spv.point_transforms:
        assert isinstance(branch.net.bn, nn.BatchNorm1d)
        nn.init.zeros_(branch.net.bn.weight)
        nn.init.zeros_(branch.net.bn.bias)
    coords = torch.tensor([[0, 64 * i, 0, 0] for i in range(4)], dtype=torch.int32)
    feats = torch.randn(4, 4)
    with torch.no_grad():
        torch.testing.assert_close(spv(feats, coords).logits, mink(feats, coords).logits)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("cr", [0, -1.0, 0.01, float("nan"), float("inf"), "1.0", None, True])
def test_a_multiplier_that_leaves_no_channels_is_refused(cr: Any) -> None:
    with pytest.raises(UserError, match=r"model\.backbone\.cr=.*expected a width multiplier"):
        fixed_widths(cr)
