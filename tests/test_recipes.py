"""Every recipe composes, and trains two steps on tiny scans with a narrow network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_run import configure, write_tiny

from clusterseg.commands.train import train
from clusterseg.errors import UserError
from clusterseg.files import CONF

RECIPES = sorted(path.stem for path in (CONF / "experiment" / "recipe").glob("*.yaml"))
PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("recipes"), {"00": 9, "08": 1})


@pytest.mark.parametrize("name", RECIPES)
def test_two_steps(name: str, folder: Path, tmp_path: Path, tiny_run: Path) -> None:
    text = (CONF / "experiment" / "recipe" / f"{name}.yaml").read_text()
    spvnas = any(word in text for word in ("/model: spvnas", "spvnas_small"))
    start = [f"model.init_from={tiny_run / 'run/checkpoints/best.ckpt'}"] if name.startswith("paper") else []
    run = configure(
        "train",
        f"experiment=recipe/{name}",
        f"data.root={folder / 'data'}",
        "data.sequences={train: [0], val: []}",
        "data.num_workers=0",
        f"model.backbone.control={folder / 'net.config'}" if spvnas else "model.backbone.cr=0.1",
        "trainer=cpu",
        "trainer.max_steps=2",
        "trainer.accumulate_grad_batches=1",
        *start,
    )
    metrics = train(run, tmp_path)
    assert torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 2
    assert ("train/loss_lovasz" in metrics) is ("lovasz" in run.loss)


def test_a_recipe_is_short_and_says_where_it_is_from() -> None:
    for name in RECIPES:
        lines = (CONF / "experiment" / "recipe" / f"{name}.yaml").read_text().splitlines()
        assert len(lines) <= 25, name
        assert lines[1].startswith(f"# python train.py experiment=recipe/{name}"), name
        assert any("ource:" in line or "Ours" in line for line in lines[:4]), name
        assert f"`{name}`" in PAGE.read_text(), name


def test_fine_tuning_asks_for_its_weights(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.init_from=.*spvnas_published_weights\.pt: no such file"):
        train(configure("train", "experiment=recipe/paper_baseline"), tmp_path)
