"""The choices of `augmentation=`, and whole runs with scans that are mixed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from tiny_run import configure, tiny_settings, write_tiny

from clusterseg.build.refusals import check
from clusterseg.commands.train import train
from clusterseg.data.augment import (
    BeamDropout,
    InstanceCutMix,
    LaserMix,
    Mix3D,
    OneOf,
    PolarMix,
    RandomJitter,
    RandomRemission,
    RandomSurfaces,
    RandomTranslation,
)
from clusterseg.data.transforms import RandomFlip, RandomRotation, RandomScale
from clusterseg.files import CONF

HEIGHT = {
    "parking": [-0.08, 0.05],
    "sidewalk": [-0.1, 0.03],
    "other-ground": [-0.05, 0.1],
    "terrain": [-0.1, 0.1],
    "traffic-sign": [-1.0, 0.6],
}
GAIN = {
    "car": [0.6, 1.3],
    "person": [0.8, 1.5],
    "building": [0.8, 1.4],
    "fence": [0.7, 1.4],
    "vegetation": [0.8, 1.3],
    "trunk": [0.8, 1.3],
    "terrain": [0.9, 1.25],
    "sidewalk": [0.9, 1.2],
    "pole": [0.5, 1.2],
    "traffic-sign": [0.25, 1.1],
}
DEFAULT = (RandomRotation(), RandomScale())
CHOICES = {
    "none": ((), ()),
    "default": ((), DEFAULT),
    "flip": ((), (*DEFAULT, RandomFlip())),
    "flip_jitter": ((), (*DEFAULT, RandomFlip(), RandomJitter())),
    "lasermix": ((LaserMix(),), DEFAULT),
    "polarmix": ((PolarMix(),), DEFAULT),
    "laser_polarmix": ((OneOf([LaserMix(), PolarMix()]),), DEFAULT),
    "mix3d": ((Mix3D(transforms=[RandomRotation()]),), DEFAULT),
    "cutmix": ((InstanceCutMix(),), DEFAULT),
    "sensors": (
        (
            BeamDropout(max_share=0.7, probability=0.3),
            RandomSurfaces(HEIGHT, GAIN),
            OneOf([LaserMix(probability=0.5), PolarMix(swap=0.25, paste=0.5)]),
        ),
        (
            RandomRotation(0.35),
            RandomScale(),
            RandomFlip(),
            RandomJitter(),
            RandomRemission(1.4, 1.3, absent=0.1, fade=0.03),
            RandomTranslation(),
        ),
    ),
}


def test_every_choice_is_listed_here() -> None:
    assert {path.stem for path in (CONF / "augmentation").glob("*.yaml")} == CHOICES.keys()


@pytest.mark.parametrize("choice", CHOICES)
def test_each_choice_composes_and_builds(choice: str, tmp_path: Path) -> None:
    config = configure("train", f"augmentation={choice}", f"data.root={tmp_path}", "trainer=cpu")
    check(config)
    data = instantiate(config.data, _convert_="all")
    assert (data.mixes, data.transforms) == CHOICES[choice]


def test_parts_of_a_choice_are_set_and_switched_off(tmp_path: Path) -> None:
    config = configure(
        "train",
        f"data.root={tmp_path}",
        "augmentation=lasermix",
        "data.augmentation.rotation=null",
        "+data.augmentation.lasermix.num_areas=[4]",
    )
    data = instantiate(config.data, _convert_="all")
    assert data.transforms == (RandomScale(),)
    assert data.mixes == (LaserMix(num_areas=[4]),)
    config = configure("train", f"data.root={tmp_path}", "augmentation=lasermix", "data.augmentation.lasermix=null")
    assert instantiate(config.data, _convert_="all").mixes == ()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("mixed"), {"00": 5, "08": 2})


def training(folder: Path, choice: str, *overrides: str) -> DictConfig:
    return configure(
        "train",
        f"augmentation={choice}",
        *tiny_settings(folder),
        "optim=adamw",
        "trainer=cpu",
        "trainer.max_epochs=2",
        "callbacks.dashboard=null",
        "callbacks.pictures=null",
        *(["+data.augmentation.cutmix.classes=[car]"] if choice == "cutmix" else []),
        *overrides,
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.mark.parametrize("choice", ["laser_polarmix", "cutmix"])
@pytest.mark.slow  # the loader's part of it is in tests/data/test_mixed.py
def test_a_run_with_mixed_scans_resumes_exactly(choice: str, folder: Path, tmp_path: Path) -> None:
    plain, straight, resumed = tmp_path / "plain", tmp_path / "straight", tmp_path / "resumed"
    config = ["~optim.scheduler", "+optim.scheduler={_target_: clusterseg.optim.constant, _partial_: true}"]
    train(training(folder, "default", *config), plain)
    train(training(folder, choice, *config), straight)
    train(training(folder, choice, *config, "trainer.max_steps=2"), resumed)
    train(training(folder, choice, *config, "ckpt=last"), resumed)
    expected, got = weights(straight), weights(resumed)
    assert not [name for name, value in expected.items() if not torch.equal(value, got[name])]
    assert [name for name, value in expected.items() if not torch.equal(value, weights(plain)[name])], "it was mixed"
    if choice == "cutmix":
        assert len(list((folder / "data" / ".clusterseg").glob("instances-*.npz"))) == 1
