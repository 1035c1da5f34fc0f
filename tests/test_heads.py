"""The heads as arms of a study: each trains, they share all of a seed but the arm, and the controls know their data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from test_run import rows
from tiny import write_control, write_dataset
from tiny_run import configure

from clusterseg.build.prepare import prepare
from clusterseg.build.training import build
from clusterseg.commands.train import train
from clusterseg.errors import UserError

STREETS = "{scans: 2, azimuths: 128, beams: 16, sequences: [0, 8]}"
ARMS = ["class_contrast", "default", "reference", "improved", "prototypes", "oracle", "placebo"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    write_control(folder / "net.config")
    return folder


def arm(folder: Path, name: str, *overrides: str, steps: int = 3) -> DictConfig:
    config = configure(
        "train",
        "data=streets",
        f"data.root={folder / 'streets'}",
        f"data.recipe={STREETS}",
        "data={sequences: {train: [0], val: []}, batch_size: 2}",
        "augmentation=laser_polarmix",
        "model=spvnas_cluster",
        f"model/cluster={name}",
        f"model.backbone.control={folder / 'net.config'}",
        "model.backbone.dropout=0.3",
        "optim=adamw",
        "trainer=cpu",
        f"trainer={{max_steps: {steps}, max_epochs: -1, log_every_n_steps: 1}}",
        *overrides,
    )
    config.optim.scheduler = {"_target_": "clusterseg.optim.constant", "_partial_": True}
    return config


@pytest.mark.parametrize(
    "name", [pytest.param(a, marks=pytest.mark.slow) if a in ("default", "class_contrast") else a for a in ARMS]
)
def test_each_arm_trains_on_mixed_streets(folder: Path, name: str) -> None:
    run = folder / name
    train(arm(folder, name, "model.cluster.ramp_steps=0"), run)
    table = rows(run)
    terms = {key for key in table[-1] if key.startswith("train/loss_")} - {"train/loss_ce", "train/loss_lovasz"}
    assert len(terms) == 3
    # The release's 100 anchors are alone in their clusters: nothing for an anchor to be pulled to.
    expected = terms - ({"train/loss_point_point"} if name == "reference" else set())
    assert all(float(table[-1][term]) > 0 for term in expected)
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert state["cluster.step"] == 3
    assert state["cluster.centers.seeded"].any()


def test_arms_of_a_seed_share_everything_but_the_arm(folder: Path, tmp_path: Path) -> None:
    """A head of weight 0, whose parameters are drawn too, leaves every loss and weight of the network as they are."""
    train(arm(folder, "none"), tmp_path / "none")
    train(arm(folder, "improved", "model.cluster.weight=0"), tmp_path / "head")
    for name in ("train/loss_ce", "train/loss_lovasz", "train/loss"):
        losses = [[row[name] for row in rows(tmp_path / run)] for run in ("none", "head")]
        assert losses[0] == losses[1], name
        assert len(set(losses[0]) - {""}) == 3
    states = [
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("none", "head")
    ]
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []
    assert len(states[0]) > 100


def test_the_oracle_is_refused_where_nothing_is_known(folder: Path, tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "data", {"00": 1})
    config = arm(folder, "oracle")
    other = configure("train", f"data.root={root}", "data.sequences={train: [0], val: []}").data
    config.data = other
    with pytest.raises(
        UserError, match=r"true subclasses, which the scans of SemanticKittiReader do not have; .*streets"
    ):
        build(prepare(config), tmp_path)


def test_the_oracle_needs_a_cluster_for_each_mode(folder: Path, tmp_path: Path) -> None:
    config = arm(folder, "oracle", "model.cluster.clusters_per_class={default: 6, car: 4}")
    with pytest.raises(UserError, match=r"clusters_per_class: fewer clusters than true subclasses \(car: 4 of 6\)"):
        build(prepare(config), tmp_path)


@pytest.mark.parametrize(
    ("name", "served"), [("none", (False, False)), ("improved", (False, False)), ("placebo", (True, False))]
)
def test_samples_hold_what_the_head_asks_for_and_nothing_else(
    folder: Path, tmp_path: Path, name: str, served: tuple[bool, bool]
) -> None:
    parts = build(prepare(arm(folder, name)), tmp_path)
    sample = parts.data.dataset("fit")[0]
    assert (sample.subjects is not None, sample.view is not None) == served


@pytest.mark.slow
def test_four_steps_are_two_and_two_with_every_input_asked_for(folder: Path, tmp_path: Path) -> None:
    """Cells, things and the second view come from the data: they must be those of an uninterrupted run."""
    asking = ("model.cluster.views=2", "model.cluster.anchors_from=things", "model.cluster.ramp_steps=0")
    train(arm(folder, "improved", *asking, steps=4), tmp_path / "whole")
    train(arm(folder, "improved", *asking, steps=2), tmp_path / "parts")
    train(arm(folder, "improved", *asking, "ckpt=last", steps=4), tmp_path / "parts")
    whole, parts = (
        torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole", "parts")
    )
    assert whole["cluster.step"] == 4
    assert [name for name in whole if not torch.equal(whole[name], parts[name])] == []
