"""Whole trainings on streets: an epoch with the head, resumed and repeated runs, NCCL; does the loader keep up?"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from benchmarks.gpu.setup import Report, Setup, precision
from benchmarks.measure import timed
from benchmarks.scans import Voxels
from benchmarks.steps import network, training_step
from clusterseg.build.prepare import prepare
from clusterseg.build.training import build
from clusterseg.commands.hydra_command import quieten
from clusterseg.commands.train import train
from clusterseg.distributed import end_process_group
from clusterseg.files import CONF

CONSTANT = {"_target_": "clusterseg.optim.constant", "_partial_": True}


def settings(setup: Setup) -> list[str]:
    """What all trainings of the kit share."""
    common = [
        "data=streets",
        f"data.root={setup.folder / 'streets'}",
        "data.batch_size=2",
        "model=spvnas_cluster",
        "optim=adamw",
        "trainer.max_epochs=1",
        "trainer.log_every_n_steps=1",
        "callbacks.pictures=null",
        "callbacks.dashboard=null",
        "callbacks.clusters=null",
    ]
    if setup.rehearse:
        tiny = ["data.recipe={scans: 4, azimuths: 32, beams: 16, sequences: [0, 8], period: 1.0}", "data.num_workers=0"]
        return [*common, *tiny, "data.sequences={train: [0], val: [8]}", "data.voxel_size=0.2", *SMALL]
    recipe = "data.recipe={scans: 24, azimuths: 2000, beams: 64, sequences: [0, 1, 2, 8], period: 1.0}"
    more = ["data.recipe_workers=8", "data.sequences={train: [0, 1, 2], val: [8]}", "trainer=gpu"]
    return [*common, recipe, *more]


SMALL = ["model/backbone=spvnas_small", "trainer=cpu", "trainer.precision=bf16-mixed"]


def configure(setup: Setup, *overrides: str) -> DictConfig:
    quieten()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [*settings(setup), *overrides], return_hydra_config=True)
    with open_dict(config):
        del config["hydra"]
        config.name = "kit"
    return config


def epoch(setup: Setup, report: Report) -> None:
    """One epoch with the head in bf16-mixed, every engine of the device, then the validation."""
    table = report.table(
        "An epoch of streets, bf16-mixed, with the head",
        "engine",
        "steps",
        "s",
        "scans/s",
        "loss at first",
        "at last",
        "val/miou",
    )
    for engine in (name for name in setup.usable() if name == "native" or (name == "triton" and not setup.rehearse)):
        with report.guard(f"epoch, {engine}"):
            folder, start = setup.folder / f"epoch_{engine}", time.perf_counter()
            metrics = train(configure(setup, f"sparse.backend={engine}"), folder)
            seconds = time.perf_counter() - start
            losses = [float(row["train/loss"]) for row in _rows(folder) if row.get("train/loss")]
            speed = metrics.get("train/scans_per_second")
            table.add(engine, len(losses), seconds, speed, losses[0], losses[-1], metrics.get("val/miou"))
            finite = all(abs(loss) < 1e6 for loss in losses)
            report.check(f"{engine}: every loss is finite", bool(losses) and finite)
            report.check(f"{engine}: it has validated", "val/miou" in metrics)
            if not setup.rehearse:
                report.check(f"{engine}: the loss has fallen", losses[-1] < losses[0])


def _rows(run: Path) -> list[dict[str, str]]:
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def _state(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(
        run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True
    )["state_dict"]
    return state


def _unequal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    return [name for name in one if name not in other or not torch.equal(one[name], other[name])]


def _steps(setup: Setup, name: str, steps: int, *overrides: str) -> dict[str, torch.Tensor]:
    """Train some steps with a constant rate and `deterministic=true`; return the weights, centres and bank."""
    config = configure(
        setup, f"trainer.max_steps={steps}", "trainer.limit_val_batches=0", "deterministic=true", *overrides
    )
    with open_dict(config):
        config.optim.scheduler = CONSTANT  # the usual one depends on the planned length
    try:
        train(config, setup.folder / name)
    finally:
        torch.use_deterministic_algorithms(False)
    return _state(setup.folder / name)


def resume(setup: Setup, report: Report) -> None:
    """A run that stops half-way and goes on ends at the same bits as one that does not."""
    whole, half = (2, 1) if setup.rehearse else (8, 4)
    straight = _steps(setup, "straight", whole)
    _steps(setup, "resumed", half)
    odd = _unequal(straight, _steps(setup, "resumed", whole, "ckpt=last"))
    told = f"{len(odd)} of {len(straight)} tensors differ, first {odd[0]}" if odd else f"{len(straight)} tensors"
    report.check(f"resumed after {half} of {whole} steps: bit for bit", not odd, told)


def deterministic(setup: Setup, report: Report) -> None:
    """The same command twice with `deterministic=true`: what PyTorch refuses, and whether the bits are equal."""
    steps = 1 if setup.rehearse else 8
    one = _steps(setup, "first", steps)
    odd = _unequal(one, _steps(setup, "second", steps))
    told = f"{len(odd)} of {len(one)} tensors differ, first {odd[0]}" if odd else f"{len(one)} tensors"
    report.check(f"{steps} steps twice: bit for bit", not odd, told)


def nccl(setup: Setup, report: Report) -> None:
    """A process group of one rank: NCCL on a GPU, gloo in a rehearsal."""
    ranks = ["trainer=ddp_cpu"] if setup.rehearse else ["trainer=ddp", "trainer.precision=bf16-mixed"]
    more = ["trainer.devices=1", "trainer.max_steps=1", "trainer.limit_val_batches=0", "trainer.sync_batchnorm=true"]
    config = configure(setup, *ranks, *more, "loss.lovasz.joint=true")
    try:
        metrics = train(config, setup.folder / "ranks")
        backend = torch.distributed.get_backend() if torch.distributed.is_initialized() else "no group"
    finally:
        end_process_group()
    expected = "gloo" if setup.rehearse else "nccl"
    report.check(f"a step in a group of {expected}", backend == expected, f"backend {backend}")
    report.check("its loss is finite", abs(metrics.get("train/loss", float("nan"))) < 1e6)


def loader(setup: Setup, report: Report) -> None:
    """Scans a second of the loader alone, and of the training step alone on batches in memory."""
    table = report.table("Does the loader keep up?", "what", "scans/s")
    config = prepare(configure(setup, *([] if setup.rehearse else ["data.batch_size=4"])))
    data = build(config, setup.folder / "loader").data
    batches, seconds, scans = [], 0.0, 0
    for turn in range(1 if setup.rehearse else 2):  # the first one starts the workers
        start, scans = time.perf_counter(), 0
        for batch in data.train_dataloader():
            batches, scans = [batch], scans + batch.num_scans
        seconds = time.perf_counter() - start
        table.add(f"the loader, {'first' if turn == 0 else 'second'} time, workers as by default", scans / seconds)
    rates = []
    for engine in (name for name in setup.usable() if name == "native" or (name == "triton" and not setup.rehearse)):
        with report.guard(f"training step, {engine}"):
            rates.append(batches[0].num_scans / _step_seconds(setup, engine, batches[0]))
            table.add(f"the training step in bf16, {engine}", rates[-1])
    if not setup.rehearse:
        report.check("the loader is faster than the fastest engine", scans / seconds > max(rates))


def _step_seconds(setup: Setup, engine: str, batch: Any) -> float:
    moved = batch.to(setup.device)
    voxels = Voxels(moved.feats, moved.coords, moved.targets, "a batch of the loader")
    step = training_step(network(setup.control, engine).to(setup.device), voxels)
    with precision("bfloat16", setup.device):
        step()
        return min(timed(step, setup.device) for _ in range(setup.rounds))
