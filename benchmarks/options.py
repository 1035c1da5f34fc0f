"""What all tables are asked: where real scans lie, how many threads, how many rounds."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Options:
    """The choices of a call.

    Attributes:
        data: A folder in the SemanticKITTI layout; None: streets take its place.
        threads: Of PyTorch on the CPU.
        rounds: Repetitions of what takes about a second; quicker ones get more.
        quick: Tiny inputs, one round: to see that the code runs, not what it costs.
    """

    data: Path | None
    threads: int = 2
    rounds: int = 5
    quick: bool = False

    def rounds_of(self, share: float = 1.0) -> int:
        """Rounds of something that takes 1 / `share` of the usual time."""
        return 1 if self.quick else max(3, round(self.rounds * share))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="real scans: a folder that holds sequences/08/velodyne")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="tiny inputs, one round: the figures mean nothing")


def read_options(given: argparse.Namespace) -> Options:
    torch.set_num_threads(given.threads)
    return Options(given.data or real_scans(), given.threads, given.rounds, given.quick)


def shared_folder() -> Path | None:
    """The folder of golden values and real scans, found as the tests find it."""
    folder = Path(os.environ.get("CLUSTERSEG_SHARED") or ROOT.parent / "shared")
    return folder if folder.is_dir() else None


def real_scans() -> Path | None:
    folder = shared_folder()
    found = None if folder is None else folder / "data" / "semantickitti_mini"
    return found if found is not None and found.is_dir() else None
