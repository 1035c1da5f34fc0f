"""The files and commands of docs/custom.md, in a folder outside of the package, as a stranger would have them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
from warm_process import command

PAGE = Path(__file__).parents[1] / "docs" / "custom.md"


def write_rooms(root: Path) -> None:
    """Six recordings: points (N, 5), labels with ids of its own, and a list of those to validate on."""
    for part in ("points", "labels"):
        (root / part).mkdir(parents=True)
    for number in range(6):
        rng = np.random.default_rng(number)
        kind = rng.integers(1, 4, 1500)
        xyz = rng.uniform(-6, 6, (1500, 3))
        xyz[kind == 1, 2] = rng.normal(-1.7, 0.02, (kind == 1).sum())
        xyz[kind == 2, 1] = 5 + rng.normal(0, 0.02, (kind == 2).sum())
        xyz[kind == 3] = xyz[kind == 3] * 0.1 + [2, -2, -1]
        points = np.c_[xyz, rng.uniform(0, 255, 1500), rng.integers(0, 32, 1500)]
        np.save(root / "points" / f"{number}.npy", points.astype(np.float32))
        np.save(root / "labels" / f"{number}.npy", np.where(rng.random(1500) < 0.1, 0, kind).astype(np.uint16))
    (root / "val.txt").write_text("4 5")


def write_folder(folder: Path) -> Path:
    """Write the data and each block of the page that has a file's name."""
    write_rooms(folder / "rooms")
    for name, text in re.findall(r"```\w+ title=(\S+)\n(.*?)```", PAGE.read_text(), re.S):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def commands(heading: str) -> list[str]:
    """The command lines under a heading of the page."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [line for block in re.findall(r"```bash\n(.*?)```", section, re.S) for line in block.splitlines()]


def run(line: str, folder: Path) -> str:
    """Run a command of the page in the folder; returns what it says."""
    program, *arguments = shlex.split(line)
    assert program == "clusterseg"
    code, said = command(arguments, folder)
    assert code == 0, f"{line}\n{said[-6000:]}"
    return said
