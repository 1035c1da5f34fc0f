"""How often the host waits for the device.

On CUDA PyTorch warns at each synchronisation. On a CPU nothing waits, so the operators are counted that would: those
whose result's size depends on values, and those that bring a value to Python.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

#: Operators that wait on CUDA, by the names of ATen.
WAITING = {
    "_local_scalar_dense",
    "nonzero",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "masked_select",
}


@dataclass
class Waits:
    """Synchronisations by what caused them."""

    by_cause: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        return sum(self.by_cause.values())


def waits(call: Callable[[], object], device: torch.device) -> Waits:
    """Count the waits of a call."""
    found = Waits()
    with _warned(found) if device.type == "cuda" else operators(found):
        call()
    return found


@contextmanager
def _warned(found: Waits) -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for warning in caught:
        if "synchronizing" in str(warning.message):
            place = warning.filename.rpartition("site-packages/")[2].rpartition("clusterseg/")[2]
            found.by_cause[f"{place}:{warning.lineno}"] += 1


@contextmanager
def operators(found: Waits) -> Iterator[None]:
    """Count the operators that would wait on CUDA."""
    with _Operators(found), _Lists(found):
        yield


class _Operators(TorchDispatchMode):
    def __init__(self, found: Waits) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.rpartition("::")[2]
        by_mask = name in ("index", "index_put_") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool for index in args[1]
        )
        sized = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None and len(args) < 3
        if name in WAITING or by_mask or sized:
            self.found.by_cause[f"{name} by a mask" if by_mask else name] += 1
        return func(*args, **(kwargs or {}))


class _Lists(TorchFunctionMode):
    """`tolist` reads a CPU's memory without an operator."""

    def __init__(self, found: Waits) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.tolist:
            self.found.by_cause["tolist"] += 1
        return func(*args, **(kwargs or {}))
