"""Cost of a prediction: time per scan and peak memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Cost:
    """Running sums of the time from a batch on the device to a prediction for every point.

    The first batch is excluded as warm-up if there are more.

    Attributes:
        device: Device of the network.
        scans: Number of timed scans.
        seconds: Their total time.
        slowest: Longest time per scan in seconds, as the mean over its batch.
        batches: Number of batches begun.
    """

    device: torch.device
    scans: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    batches: int = 0

    @contextmanager
    def timing(self, scans: int) -> Iterator[None]:
        """Context manager that times a batch of some scans."""
        self._wait()
        start = time.perf_counter()
        yield
        self._wait()
        seconds = time.perf_counter() - start
        if self.batches == 1:
            self.scans, self.seconds, self.slowest = 0, 0.0, 0.0
        self.batches += 1
        self.scans += scans
        self.seconds += seconds
        self.slowest = max(self.slowest, seconds / scans)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def summary(self) -> dict[str, Any]:
        """This process's numbers; see `summarise`."""
        return {
            "scans": self.scans,
            "seconds": self.seconds,
            "slowest": self.slowest,
            "peak_memory_bytes": peak_memory(self.device),
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu",
        }


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes so far: of tensors on a GPU, or of the whole process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def summarise(ranks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Latency (ms per scan) and memory (MiB) over all ranks, as in `metrics.json`."""
    parts = list(ranks)
    scans = sum(part["scans"] for part in parts)
    seconds = sum(part["seconds"] for part in parts)
    return {
        "latency_ms": {
            "mean": 1e3 * seconds / max(scans, 1),
            "slowest": 1e3 * max(part["slowest"] for part in parts),
            "scans": scans,
        },
        "peak_memory_mib": max(part["peak_memory_bytes"] for part in parts) / 2**20,
        "device": parts[0]["device"],
    }
