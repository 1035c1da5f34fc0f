"""A table of figures, its Markdown, and the machine that they were measured on."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

VERSIONS = ("torch", "pytorch-lightning", "numpy", "triton", "torchsparse", "spconv")


@dataclass
class Table:
    """Rows of figures under one title.

    Attributes:
        title: What is measured.
        columns: Their names, the first of them of the rows.
        rows: Text, whole numbers, floats (shown in three significant digits) or None (shown as a dash).
        notes: What must be known to read it.
    """

    title: str
    columns: list[str]
    rows: list[list[Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *values: Any) -> None:
        assert len(values) == len(self.columns), (values, self.columns)
        self.rows.append(list(values))

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", *(f"{note}\n" for note in self.notes)]
        lines.append(f"| {' | '.join(self.columns)} |")
        lines.append(f"|---|{'---:|' * (len(self.columns) - 1)}")
        lines += [f"| {' | '.join(shown(value) for value in row)} |" for row in self.rows]
        return "\n".join([*lines, ""])

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        whole = abs(value) >= 100
        return f"{value:,.0f}" if whole else f"{value:.3g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def percent(share: float) -> str:
    return f"{share:.0%}"


def machine() -> dict[str, Any]:
    """The machine and the versions, for the JSON file and the page."""
    found: dict[str, Any] = {
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "python": sys.version.split()[0],
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
    }
    return found | {name: installed(name) for name in VERSIONS}


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine_line(found: dict[str, Any]) -> str:
    """One line of it."""
    where = found["gpu"] or f"{found['threads']} threads of {found['cpu']} ({found['instructions']})"
    packages = [f"{name} {found[name]}" for name in VERSIONS if found.get(name)]
    return f"{where}; Python {found['python']}, {', '.join(packages)}"
