"""Times beside a yardstick of the same run, and the peak memory of a process."""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

from clusterseg.commands.allocator import keep_freed_memory

CPU = torch.device("cpu")
Result = TypeVar("Result")


@dataclass
class Timings:
    """Seconds of each case in each round, and the speed of the machine in that round.

    Attributes:
        seconds: By case.
        product: FLOP/s of a plain matrix product in float32, each round.
        copy: Bytes/s read and written by a copy of 256 MB (of 16 MB where it is quick), each round.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    product: list[float] = field(default_factory=list)
    copy: list[float] = field(default_factory=list)

    def median(self, case: str) -> float:
        return median(self.seconds[case])

    def best(self, case: str) -> float:
        return min(self.seconds[case])

    def share(self, case: str, flop: float) -> float:
        """Useful arithmetic as a share of what plain products would have done: the median over the rounds."""
        rounds = zip(self.seconds[case], self.product, strict=True)
        return median(flop / rate / seconds for seconds, rate in rounds)

    def ratio(self, case: str, other: str) -> float:
        """How many times as long as another case it takes: the median over the rounds."""
        return median(a / b for a, b in zip(self.seconds[case], self.seconds[other], strict=True))

    def note(self) -> str:
        return (
            f"Yardstick between the rounds: plain float32 product {median(self.product) / 1e9:,.0f} GFLOP/s "
            f"({min(self.product) / 1e9:,.0f} to {max(self.product) / 1e9:,.0f}), memory copy "
            f"{median(self.copy) / 1e9:.1f} GB/s."
        )


def interleave(
    cases: Mapping[str, Callable[[], object]],
    rounds: int,
    device: torch.device = CPU,
    quick: bool = False,
    warm: bool = False,
) -> Timings:
    """Time each case once a round, the yardsticks before them; after a round to warm up, if the cases are not yet.

    Every other round goes backwards, so that what a case leaves behind, and a drift, are not always another's.
    """
    found = Timings({name: [] for name in cases})
    product, flop = _product(device, quick)
    copy, moved = _copy(device, quick)
    for turn in range(1 if warm else 0, rounds + 1):
        speeds = flop / best(product, 3, device), moved / best(copy, 3, device)
        for name in list(cases)[:: -1 if turn % 2 else 1]:
            seconds = timed(cases[name], device)
            if turn:
                found.seconds[name].append(seconds)
        if turn:
            found.product.append(speeds[0])
            found.copy.append(speeds[1])
    return found


def timed(call: Callable[[], object], device: torch.device = CPU) -> float:
    """Seconds of a call, the device's work included."""
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - start


def best(call: Callable[[], object], repeats: int, device: torch.device = CPU) -> float:
    return min(timed(call, device) for _ in range(repeats))


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _product(
    device: torch.device, quick: bool, dtype: torch.dtype = torch.float32
) -> tuple[Callable[[], object], float]:
    side = 256 if quick else 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return lambda: a @ b, 2.0 * side**3


def _copy(device: torch.device, quick: bool) -> tuple[Callable[[], object], float]:
    numbers = 4_000_000 if quick else 64_000_000
    source, target = (torch.zeros(numbers, device=device) for _ in range(2))
    return lambda: target.copy_(source), 2.0 * 4 * numbers


def product_rate(device: torch.device, dtype: torch.dtype, quick: bool = False) -> float:
    """FLOP/s of a plain matrix product."""
    call, flop = _product(device, quick, dtype)
    best(call, 2, device)
    return flop / best(call, 5, device)


def without_bfloat16() -> str | None:
    """Why bfloat16 is not measured on this CPU, or None: without instructions for it a whole scan takes minutes."""
    share = product_rate(CPU, torch.bfloat16, quick=True) / product_rate(CPU, torch.float32, quick=True)
    if share > 0.3:
        return None
    return f"bfloat16 is left out: a plain product in it runs here at {share:.1%} of float32's speed."


def copy_rate(device: torch.device, quick: bool = False) -> float:
    """Bytes/s of a copy, read and written."""
    call, moved = _copy(device, quick)
    best(call, 2, device)
    return moved / best(call, 5, device)


def peak_memory_mb() -> float:
    """Peak memory of this process so far in MB.

    VmHWM, where the system has it: ru_maxrss of a process begins with that of the process that started it.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def in_child(function: Callable[..., Result], *arguments: object, threads: int = 2) -> Result:
    """Return what a function returns in a process of its own, which does nothing else.

    It is a fork of a server that has done the imports, so its memory is that of a process which has just started.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([function.__module__])
    with ProcessPoolExecutor(1, context, begin, (threads,)) as child:
        return child.submit(function, *arguments).result()


def begin(threads: int) -> None:
    """Set up a process that measures and does nothing else."""
    keep_freed_memory()
    torch.set_num_threads(threads)
