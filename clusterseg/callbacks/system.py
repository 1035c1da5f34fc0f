"""Log the time and memory that a run uses."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from clusterseg.predict.latency import peak_memory
from clusterseg.task.logged import is_logged


class SystemFigures(Callback):
    """Logs `system/hours`, `system/memory_mib` and, on a GPU, `system/gpu_memory_mib`, all of rank 0.

    Hours count the training including the parts before a resume. Memory is the peak so far of the process and of its
    tensors on the GPU, in MiB. Logged steps only.
    """

    def __init__(self) -> None:
        self._before = 0.0
        self._start = time.perf_counter()

    @property
    def _seconds(self) -> float:
        return self._before + time.perf_counter() - self._start

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds of training so far."""
        return {"seconds": self._seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seconds of training."""
        self._before = state_dict["seconds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start counting."""
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log the figures if the step is logged."""
        if not is_logged(trainer, done=True):
            return
        figures = {"hours": self._seconds / 3600, "memory_mib": peak_memory(torch.device("cpu")) / 2**20}
        if pl_module.device.type == "cuda":
            figures["gpu_memory_mib"] = peak_memory(pl_module.device) / 2**20
        pl_module.log_dict({f"system/{name}": value for name, value in figures.items()}, batch_size=1)
