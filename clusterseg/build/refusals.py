"""Validate a configuration before anything is read, built or written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Any, Literal

import torch
from omegaconf import DictConfig
from pydantic import Field

from clusterseg.build.task import plain
from clusterseg.config.signatures import at, mistakes, nearest, shown, wrong_type
from clusterseg.errors import UserError
from clusterseg.sparse.backends import BACKENDS as ENGINES

#: Settings that are not arguments of a `_target_`.
SETTINGS: dict[str, Any] = {
    "seed": Annotated[int, Field(ge=0)],
    "deterministic": bool | Literal["warn"],
    "on_nan": Literal["stop", "skip"],
    "ckpt": str | None,
    "overwrite": bool,
    "optim.lr_per": Annotated[int, Field(ge=1)] | None,
    "model.init_from": str | None,
    "model.init_strict": bool,
}
CUDA_ENGINES = ("triton", "torchsparse", "spconv")
GPU = ("gpu", "cuda")
#: Minimum values of Trainer settings that Lightning does not check.
LEAST = {
    "trainer.max_epochs": -1,
    "trainer.max_steps": -1,
    "trainer.num_nodes": 1,
    "trainer.accumulate_grad_batches": 1,
    "trainer.gradient_clip_val": 0,
    "trainer.limit_train_batches": 0,
    "trainer.limit_val_batches": 0,
    "trainer.log_every_n_steps": 1,
}


def check(config: DictConfig) -> None:
    """Validate the configuration of a training: unknown keys, wrong types, impossible combinations.

    Raises:
        UserError: It names every mistake, its key and the remedy.
    """
    settings = plain(config)
    found = [*_types(settings)]
    if found:
        found.append("Change these; --help lists every setting with its default.")
    else:  # comparisons need values of the right type
        engine = settings["model"]["backbone"].get("backend", "native")
        found = [*_ranges(settings), *_length(settings["trainer"]), *_machine(settings["trainer"], engine)]
    if found:
        raise UserError("\n".join(found))


def check_trainer(config: DictConfig) -> None:
    """Validate the Trainer's settings: their types, and whether this machine can run them.

    Raises:
        UserError: It names every mistake, its key and the remedy.
    """
    trainer = plain(config)["trainer"]
    found = [*mistakes(trainer, "trainer")] or [*_machine(trainer, "native")]
    if found:
        raise UserError("\n".join(found))


def _types(settings: dict[str, Any]) -> Iterator[str]:
    for key, hint in SETTINGS.items():
        yield from wrong_type(key, at(settings, key), hint)
    yield from mistakes(settings)


def _ranges(settings: dict[str, Any]) -> Iterator[str]:
    for key, least in LEAST.items():
        value = at(settings, key)
        if isinstance(value, int | float) and value < least:
            yield f"{key}={value}: expected {least} or more; change {key}"


def _length(trainer: dict[str, Any]) -> Iterator[str]:
    """List the mistakes in the length of a run: it ends before its first step, or never."""
    for key in ("max_epochs", "max_steps", "limit_train_batches"):
        if trainer.get(key) == 0:
            yield f"trainer.{key}=0: nothing would be trained; set trainer.{key} to 1 or more"
    if trainer.get("max_epochs") == -1 and trainer.get("max_steps") == -1:
        yield "trainer: max_epochs=-1 and max_steps=-1 have no end; set one of them"


def _machine(trainer: dict[str, Any], engine: str) -> Iterator[str]:
    """List the settings that this machine or the chosen device does not support."""
    gpus = torch.cuda.device_count()
    accelerator = trainer.get("accelerator", "auto")
    if accelerator in GPU and gpus == 0:
        yield (
            f"trainer.accelerator={accelerator}: PyTorch sees no GPU on this machine; "
            "use trainer=cpu, or trainer=ddp_cpu for several processes"
        )
        return
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and gpus == 0)
    if on_cpu or accelerator in (*GPU, "auto"):
        yield from _devices(trainer.get("devices", "auto"), on_cpu, gpus)
    precision = str(trainer.get("precision"))
    if precision in ("64-true", "64", "16-true", "bf16-true"):
        yield f"trainer.precision={precision}: weights stay in float32 here; use 32-true, bf16-mixed or 16-mixed"
    elif on_cpu and precision in ("16-mixed", "16"):
        yield f"trainer.precision={precision} needs a GPU; on the CPU use 32-true or bf16-mixed"
    yield from _engine(engine, on_cpu)


def _devices(devices: Any, on_cpu: bool, gpus: int) -> Iterator[str]:
    """List a request for more devices than exist; on the CPU a device is a process, and any machine can run two."""
    there = max(2, os.cpu_count() or 1) if on_cpu else gpus
    what = f"this machine runs at most {there} processes on its CPU" if on_cpu else f"this machine has {gpus} GPU(s)"
    numbers = devices if isinstance(devices, list) else []
    wanted = max([int(number) + 1 for number in numbers], default=0) if numbers or devices == [] else devices
    if isinstance(wanted, int) and wanted > there:
        yield f"trainer.devices={shown(devices)}: {what}; set trainer.devices to {there} or less, or to auto"
    elif wanted == 0:
        yield f"trainer.devices={shown(devices)}: nothing to run on; set trainer.devices to 1 or more"


def _engine(name: str, on_cpu: bool) -> Iterator[str]:
    if name not in ENGINES:
        yield f"sparse.backend={name}: no such engine{nearest(name, ENGINES)}; choose one of {', '.join(ENGINES)}"
    elif name in CUDA_ENGINES and on_cpu:
        yield f"sparse.backend={name} needs a GPU; on the CPU use sparse.backend=auto"
    elif name in CUDA_ENGINES and find_spec(name) is None:
        yield f"sparse.backend={name}: the package {name} is not installed; install it, or use sparse.backend=native"
