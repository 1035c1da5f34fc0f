"""Clouds in blocks: each voxel once, and the answer of the whole cloud where the overlap is as wide as the sight."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_run import configure
from torch import Tensor, nn

from clusterseg.backbone import MinkUNet
from clusterseg.commands.predict import predict
from clusterseg.data.batch import Batch, collate
from clusterseg.data.sample import build_sample
from clusterseg.errors import UserError
from clusterseg.predict.blocks import COARSEST, Blocks, part_of
from clusterseg.predict.views import VIEWS
from clusterseg.predict.voter import Voter

SIGHT = 9  # voxels


class Neighbours(nn.Module):
    """Scores from the voxels within `SIGHT` along x and y, by comparing all with all."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def forward(self, feats: Tensor, coords: Tensor) -> SimpleNamespace:
        self.largest = max(self.largest, len(coords))
        steps = (coords[:, None, 1:3] - coords[None, :, 1:3]).abs().amax(2)
        near = (steps <= SIGHT) & (coords[:, None, 0] == coords[None, :, 0])
        count = near.double().sum(1)
        mean = (near.double() @ feats.double()) / count[:, None]
        return SimpleNamespace(logits=torch.stack([mean[:, 3], mean[:, 2] % 1, (count % 7) / 7], 1).float())


def cloud(points: int, seed: int = 0, size: float = 30.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((points, 4)) * [size, 0.6 * size, 2.0, 1.0]).astype(np.float32)


def batch(*clouds: np.ndarray, voxel_size: float = 0.1) -> Batch:
    samples = [build_sample(c, None, str(i), voxel_size=voxel_size, keep_points=True) for i, c in enumerate(clouds)]
    return collate(samples)


def boxes(given: Batch, blocks: Blocks) -> list[tuple[Tensor, Tensor]]:
    return [(block.rows, block.rows[block.core]) for block in blocks.divide(given.coords)]


@pytest.mark.parametrize("overlap", [0, 5, 16, 40])
@pytest.mark.parametrize("limit", [1, 150, 700])
def test_each_voxel_is_in_one_core_and_all_that_is_near_in_its_block(limit: int, overlap: int) -> None:
    given = batch(cloud(1500), cloud(300, seed=1, size=10))
    found = boxes(given, Blocks(limit, overlap))
    cores = torch.cat([core for _, core in found])
    assert torch.equal(cores.sort().values, torch.arange(len(given.coords)))
    assert len(found) > 2
    for rows, core in found:
        assert len(given.coords[rows, 0].unique()) == 1
        steps = (given.coords[:, None, 1:3] - given.coords[None, core, 1:3]).abs().amax(2).amin(1)
        near = (steps <= overlap) & (given.coords[:, 0] == given.coords[rows[0], 0])
        assert not set(torch.nonzero(near)[:, 0].tolist()) - set(rows.tolist())


def test_blocks_are_small_and_lie_on_the_coarsest_grid() -> None:
    given = batch(cloud(4000))
    found = boxes(given, Blocks(600, 8))
    assert max(len(rows) for rows, _ in found) <= 600
    whole = given.coords[:, 1:3]
    for _, core in found:
        for axis in (1, 2):
            low, high = int(given.coords[core, axis].min()), int(given.coords[core, axis].max())
            outside = whole[:, axis - 1]
            # no other core's voxel shares a coarse cell along this axis with one inside
            inside = torch.isin(torch.arange(len(whole)), core)
            rows = (outside // COARSEST == low // COARSEST) | (outside // COARSEST == high // COARSEST)
            cells = given.coords[:, 1:3] // COARSEST
            mine = {tuple(cell) for cell in cells[inside].tolist()}
            assert not mine & {tuple(cell) for cell in cells[rows & ~inside].tolist()}


def test_a_dense_spot_is_not_divided_for_ever() -> None:
    given = batch(cloud(3000, size=2.0))
    assert len(boxes(given, Blocks(10, 8))) < 10


@pytest.mark.parametrize("views", ["none", "flip4"])
def test_the_votes_are_those_of_the_whole_cloud(views: str) -> None:
    given = batch(cloud(1200), cloud(500, seed=1, size=12))
    # Views are voxelised anew in each block, so their grid may be shifted by a part of a voxel: only the plain one
    # is held to all points.
    whole, parts = Neighbours(), Neighbours()
    want = Voter([whole], VIEWS[views], 0.1)(given)
    got = Voter([parts], VIEWS[views], 0.1, Blocks(500, SIGHT))(given)
    assert parts.largest <= 500 < whole.largest
    same = (got.predictions == want.predictions).double().mean()
    if views == "none":
        assert torch.equal(got.predictions, want.predictions)
        torch.testing.assert_close(got.confidence, want.confidence, rtol=0, atol=1e-6)
    else:
        assert same > 0.9


def test_without_an_overlap_the_borders_are_seen() -> None:
    given = batch(cloud(1200))
    want, got = Voter([Neighbours()])(given), Voter([Neighbours()], blocks=Blocks(300, 0))(given)
    differ = (got.confidence - want.confidence).abs() > 1e-6
    assert 0 < int(differ.sum()) < len(differ)


def test_a_network_with_an_overlap_as_wide_as_it_sees() -> None:
    """Its sight: 182 voxels of the 3x3x3 convolutions and two cells of the coarsest grid."""
    torch.manual_seed(0)
    network = MinkUNet(0.1, num_classes=5).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    rng = np.random.default_rng(0)
    points = (rng.random((6000, 4)) * [120, 6, 2, 1]).astype(np.float32)
    given = batch(points)
    with torch.inference_mode():
        want = network(given.feats, given.coords).logits
        whole = Voter([network])(given)
        got = Voter([network], blocks=Blocks(4500, 240))(given)
        blocks = list(Blocks(4500, 240).divide(given.coords))
    assert len(blocks) > 1
    assert float(want.std()) > 0.01
    torch.testing.assert_close(got.confidence, whole.confidence, rtol=0, atol=1e-5)
    assert torch.equal(got.predictions, whole.predictions)


def test_the_part_of_a_block() -> None:
    given = batch(cloud(800), cloud(400, seed=1))
    for block in Blocks(300, 4).divide(given.coords):
        part, points, core = part_of(given, block)
        assert torch.equal(part.feats[part.inverse_map], given.feats[given.inverse_map[points]])
        assert torch.equal(part.points, given.points[points])
        assert torch.equal(torch.isin(given.inverse_map[points], block.rows[block.core]), core)
        assert part.num_scans == 1
        assert int(part.point_counts) == len(points)
        assert (part.coords[:, 0] == 0).all()
        assert torch.equal(part.coords[:, 1:], given.coords[block.rows, 1:])


@pytest.mark.parametrize("setting", ["block_voxels=10", "block_voxels=2.5", "overlap=-1", "overlap=a"])
def test_a_wrong_setting_is_one_error(tiny_run: Path, tmp_path: Path, setting: str) -> None:
    config = configure(
        "predict",
        f"ckpt={tiny_run / 'run/checkpoints/last.ckpt'}",
        f"input={tiny_run / 'data/08/velodyne'}",
        f"output={tmp_path}",
        "block_voxels=1000",
        setting,
    )
    with pytest.raises(UserError, match=rf"^{setting.split('=')[0]}=.*expected"):
        predict(config, tmp_path)


def test_the_command_predicts_in_blocks(tiny_run: Path, tmp_path: Path) -> None:
    found = {}
    for name, more in (("whole", []), ("blocks", ["block_voxels=1000", "overlap=1"])):
        config = configure(
            "predict",
            f"ckpt={tiny_run / 'run/checkpoints/last.ckpt'}",
            f"input={tiny_run / 'data/08/velodyne'}",
            f"output={tmp_path / name}",
            "trainer=cpu",
            *more,
        )
        predict(config, tmp_path)
        found[name] = np.concatenate([np.fromfile(p, "<u4") for p in sorted((tmp_path / name).glob("*.label"))])
    assert len(found["whole"]) == len(found["blocks"]) > 1000
    assert np.mean(found["whole"] == found["blocks"]) > 0.8
    config.block_voxels = 2000
    with pytest.raises(UserError, match="made with other blocks"):
        predict(config, tmp_path)


def test_settings() -> None:
    assert Blocks.of(None, None, 0.05) is None
    assert Blocks.of(150_000, None, 0.05) == Blocks(150_000, 100)
    assert Blocks.of(150_000, 5, 0.2) == Blocks(150_000, 25)
