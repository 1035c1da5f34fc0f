"""Write the checkpoint of a release: `python tests/release_checkpoint.py`, see "Release" in CONTRIBUTING.md.

A tiny run with the cluster head stops in its second epoch; `fixtures/vX.Y.Z.ckpt` is its `last.ckpt` and
`vX.Y.Z.json` how it scores on the scans of `write_scans`. `test_released_checkpoints.py` reads every such pair.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from tiny import write_control, write_dataset
from tiny_run import configure

from clusterseg import __version__
from clusterseg.commands.evaluate import evaluate
from clusterseg.commands.train import train

FIXTURES = Path(__file__).parent / "fixtures"
STOPPED_AT = 3
ELSEWHERE = "/runs"


def write_scans(folder: Path) -> Path:
    """Write what the run trains on and validates on, two steps an epoch."""
    return write_dataset(folder, {"00": 4, "08": 2}, points=250)


def training(data: Path, *overrides: str) -> DictConfig:
    """Of the narrowest network: the file stays in the repository."""
    return configure(
        "train",
        "model=spvnas_cluster",
        "model.cluster={clusters_per_class: 2, projection: [8], anchors_per_class: 16, bank_size: 4, bank_push: 2}",
        f"data.root={data}",
        "data.sequences={train: [0], val: [8]}",
        "data={num_workers: 0, voxel_size: 0.4}",
        f"model.backbone.control={write_control(data.parent / 'net.config', width=4)}",
        "optim=adamw",
        "callbacks=ema",
        "trainer=cpu",
        "trainer.max_epochs=2",
        *(f"callbacks.{name}=null" for name in ("clusters", "dashboard", "pictures")),
        *overrides,
    )


def evaluating(checkpoint: Path, data: Path) -> DictConfig:
    return configure("evaluate", f"ckpt={checkpoint}", f"data.root={data}", "trainer=cpu", "pictures=0")


def moved(value: Any, folder: str) -> Any:
    """A checkpoint with the paths below a folder as they would be elsewhere."""
    if isinstance(value, dict):
        return type(value)({moved(key, folder): moved(child, folder) for key, child in value.items()})
    if isinstance(value, list):
        return [moved(child, folder) for child in value]
    return value.replace(folder, ELSEWHERE) if isinstance(value, str) else value


def main() -> None:
    target = FIXTURES / f"v{__version__}.ckpt"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_scans(folder / "data")
        train(training(data, f"trainer.max_steps={STOPPED_AT}"), folder / "run")
        checkpoint = torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)
        torch.save(moved(checkpoint, name), target)
        scored = evaluate(evaluating(target, data), folder / "scores")
    kept = {key: scored[key] for key in ("miou", "accuracy", "points", "scans")}
    target.with_suffix(".json").write_text(json.dumps(kept) + "\n")
    print(target, target.stat().st_size, kept)


if __name__ == "__main__":
    main()
