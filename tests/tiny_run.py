"""The tiny network trained on the tiny scans, for tests of what comes after training."""

from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict
from tiny import write_control, write_dataset

from clusterseg.commands.train import train
from clusterseg.files import CONF


def configure(name: str, *overrides: str) -> DictConfig:
    """Compose a configuration as a command would."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, [*overrides], return_hydra_config=True)
    with open_dict(config):
        del config["hydra"]
        if "name" in config:
            config.name = "test"
    return config


def write_tiny(folder: Path, scans: dict[str, int]) -> Path:
    """Write ``data``, so many scans by sequence, and the network's ``net.config``; returns the folder."""
    write_dataset(folder / "data", scans)
    write_control(folder / "net.config")
    return folder


def tiny_settings(folder: Path) -> list[str]:
    """Train what ``write_tiny`` wrote on sequence 00 and validate on 08."""
    return [
        f"data.root={folder / 'data'}",
        "data.sequences={train: [0], val: [8]}",
        "data.num_workers=0",
        f"model.backbone.control={folder / 'net.config'}",
    ]


def train_tiny(folder: Path) -> Path:
    """Write ``data`` (sequences 00 and 08) and train into ``run``; returns the folder."""
    config = configure(
        "train",
        *tiny_settings(write_tiny(folder, {"00": 4, "08": 3})),
        "optim=adamw",
        "optim.optimizer.lr=0.02",
        "trainer=cpu",
        "trainer.max_epochs=3",
    )
    train(config, folder / "run")
    return folder
