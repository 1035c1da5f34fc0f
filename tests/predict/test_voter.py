"""Test-time augmentation and ensembles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clusterseg.backbone import BackboneOutput
from clusterseg.build.ensemble import read_networks
from clusterseg.data.batch import Batch, collate
from clusterseg.data.sample import build_sample
from clusterseg.errors import UserError
from clusterseg.predict.views import VIEWS, View, choose_views
from clusterseg.predict.voter import Voter, see

NONE = View()


def a_batch(scans: int = 2) -> Batch:
    rng = np.random.default_rng(0)
    clouds = [rng.normal(0, 4, (400 + i, 4)).astype(np.float32) for i in range(scans)]
    clouds[0][7, 1] = np.nan
    return collate([build_sample(c, None, f"00/{i:06d}", keep_points=True) for i, c in enumerate(clouds)])


class Fake(nn.Module):
    """Logits from the coordinates, so that each view gives others."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.weight = torch.randn(4, 5, generator=torch.Generator().manual_seed(seed))

    def forward(self, feats: Tensor, coords: Tensor) -> BackboneOutput:
        return BackboneOutput(feats @ self.weight, {})


def points_of(batch: Batch) -> np.ndarray:
    assert batch.points is not None
    return batch.points.numpy()


@pytest.mark.parametrize("name", VIEWS)
def test_views_against_a_rotation_matrix(name: str) -> None:
    points = points_of(a_batch(1))[10:]
    seen = []
    for view in choose_views(name):
        angle = np.pi / 2 * view.quarter_turns
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        mirror = np.diag([-1.0 if view.flip_x else 1.0, -1.0 if view.flip_y else 1.0, 1.0])
        expected = points[:, :3] @ (view.scale * mirror @ turn).T
        np.testing.assert_allclose(view(points)[:, :3], expected, atol=1e-5)
        assert (view(points)[:, 3] == points[:, 3]).all()
        seen.append(view(points).tobytes())
    assert seen[0] == points.tobytes(), "the identity comes first"
    assert len(set(seen)) == {"none": 1, "rot4": 4, "flip4": 4, "full": 24}[name]


def test_quarter_turns_are_exact() -> None:
    points = points_of(a_batch(1))[10:]
    turned = points
    for _ in range(4):
        turned = View(1)(turned)
    np.testing.assert_array_equal(turned, points)


def test_the_identity_alone_is_the_network_alone(tiny_run: Path) -> None:
    networks = read_networks(tiny_run / "run/checkpoints/best.ckpt")
    network = networks.networks[0].eval()
    batch = a_batch()
    with torch.no_grad():
        vote = Voter([network], choose_views("none"))(batch)
        logits = network(batch.feats, batch.coords).logits
        again = network(*(getattr(see(batch, NONE, 0.05), name) for name in ("feats", "coords"))).logits
    assert torch.equal(vote.predictions, logits.argmax(1)[batch.inverse_map])
    assert torch.equal(vote.confidence, logits.softmax(1).amax(1)[batch.inverse_map])
    assert torch.equal(logits, again), "voxelising again in the identity changes no bit"


def test_votes_against_a_loop() -> None:
    batch = a_batch()
    networks = [Fake(0), Fake(1)]
    vote = Voter(networks, VIEWS["flip4"])(batch)
    clouds = torch.split(torch.from_numpy(points_of(batch)), batch.point_counts.tolist())
    mean = []
    for cloud in clouds:
        total = np.zeros((len(cloud), 5))
        for view in VIEWS["flip4"]:
            sample = build_sample(cloud.numpy(), None, "x", transforms=[view])
            for network in networks:
                logits = sample.feats.astype(np.float64) @ network.weight.double().numpy()
                exponent = np.exp(logits - logits.max(1, keepdims=True))
                total += (exponent / exponent.sum(1, keepdims=True))[sample.inverse_map]
        mean.append(total / 8)
    expected = np.concatenate(mean)
    np.testing.assert_allclose(vote.confidence.numpy(), expected.max(1), atol=1e-5)
    agree = vote.predictions.numpy() == expected.argmax(1)
    close = np.sort(expected, axis=1)[:, -1] - np.sort(expected, axis=1)[:, -2] < 1e-5
    assert (agree | close).all()


def test_a_network_with_itself_is_the_network(tiny_run: Path) -> None:
    path = tiny_run / "run/checkpoints/best.ckpt"
    networks = read_networks([path, path])
    assert len(networks.networks) == 2
    batch = a_batch()
    with torch.no_grad():
        double = Voter([network.eval() for network in networks.networks])(batch)
        single = Voter(networks.networks[:1])(batch)
    np.testing.assert_allclose(double.confidence.numpy(), single.confidence.numpy(), atol=1e-6)
    assert torch.equal(double.predictions, single.predictions)


def test_unknown_augmentation() -> None:
    with pytest.raises(UserError, match=r"tta=rot8.*none, rot4, flip4, full"):
        choose_views("rot8")
