"""What each part of the kit is given, and what it reports."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.options import ROOT, real_scans, shared_folder
from benchmarks.scans import Voxels, batch, cloud, scan, street
from benchmarks.tables import Table

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


@dataclass(frozen=True)
class Setup:
    """The machine and the sizes of a run of the kit.

    Attributes:
        rehearse: On the CPU, with tiny inputs.
        folder: Scratch space of the run.
    """

    rehearse: bool
    folder: Path

    @cached_property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.rehearse else "cuda")

    @cached_property
    def scan(self) -> Voxels:
        """About 95,000 voxels."""
        if self.rehearse:
            return street(beams=16, azimuths=20, voxel_size=0.2)
        return scan(real_scans())

    def batch(self) -> Voxels:
        """Four scans."""
        return batch([self.scan] * (2 if self.rehearse else 4))

    def clouds(self) -> list[Voxels]:
        """100,000 and 300,000 voxels."""
        return [cloud(self.scan, size) for size in ((150,) if self.rehearse else (100_000, 300_000))]

    @property
    def control(self) -> str:
        return "spvnas_small" if self.rehearse else "spvnas_10.8M"

    @property
    def rounds(self) -> int:
        return 1 if self.rehearse else 10

    @property
    def golden(self) -> Path | None:
        """The folder that has `golden`, where golden values are."""
        folder = shared_folder()
        return folder if folder is not None and (folder / "golden").is_dir() else None

    def engines(self) -> dict[str, str | None]:
        """Each engine of this machine, and why it is left out, or None."""
        reasons: dict[str, str | None] = {"native": None}
        for name in ("triton", "torchsparse", "spconv"):
            reasons[name] = None if find_spec(name) is not None else f"{name} is not installed"
            if reasons[name] is None and self.rehearse and name != "triton":
                reasons[name] = f"{name} computes on CUDA only"
        return reasons

    def usable(self) -> list[str]:
        return [name for name, reason in self.engines().items() if reason is None]

    def precisions(self) -> tuple[str, ...]:
        """TF32 is of CUDA alone."""
        return tuple(name for name in PRECISIONS if not (self.rehearse and name == "tf32"))


@contextmanager
def precision(name: str, device: torch.device) -> Iterator[None]:
    """Compute as named: float32 proper, float32 with TF32 products, or autocast."""
    torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(name)
    try:
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


@dataclass
class Report:
    """What a part has found so far; what it found before it failed is kept.

    Attributes:
        tables: Figures.
        checks: (what, whether it holds, details).
        notes: What could not be done here, and why.
    """

    tables: list[Table] = field(default_factory=list)
    checks: list[tuple[str, bool, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def table(self, title: str, *columns: str) -> Table:
        self.tables.append(Table(title, list(columns)))
        return self.tables[-1]

    def check(self, what: str, holds: bool, details: str = "") -> None:
        self.checks.append((what, bool(holds), details))

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """Go on after a failure, which becomes a check that does not hold."""
        try:
            yield
        except Exception as error:
            line = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            self.checks.append((what, False, line))
            self.errors.append(f"{what}\n{''.join(traceback.format_exception(error))[-3000:]}")

    def plain(self) -> dict[str, Any]:
        return {
            "tables": [table.plain() for table in self.tables],
            "checks": [list(check) for check in self.checks],
            "notes": self.notes,
            "errors": self.errors,
        }


def with_tests() -> None:
    """Make the tests' modules importable: the golden network lives there."""
    for folder in ("tests", "tests/backbone"):
        if str(ROOT / folder) not in sys.path:
            sys.path.insert(0, str(ROOT / folder))


def environment(rehearse: bool, scratch: Path) -> dict[str, str]:
    """The environment of the kit's processes; must be set before PyTorch and Triton are imported."""
    ours = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic products of cuBLAS
        "TRITON_CACHE_DIR": str(scratch / "triton"),
        "TRITON_PRINT_AUTOTUNING": "1",
    }
    if rehearse:
        ours |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return dict(os.environ) | ours
