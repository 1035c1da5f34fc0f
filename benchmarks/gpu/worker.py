"""Runs parts of the kit one after the other: `python -m benchmarks.gpu.worker FOLDER REHEARSE PART [PART ...]`.

A part's report goes to FOLDER/PART.json as soon as it ends. After a part that failed the process ends with status 3: a
fault may have left the device unusable, so the next part gets a new process.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.setup import Report, Setup
from clusterseg.files import write_file

#: Where each part is; the order is that of the run, the cheap and telling ones first.
PARTS = {
    "device": "numbers",
    "golden": "numbers",
    "engines": "engines",
    "maps": "engines",
    "network": "network",
    "layers": "network",
    "start": "start",
    "epoch": "training",
    "resume": "training",
    "deterministic": "training",
    "nccl": "training",
    "loader": "training",
    "tests": "start",
}


def run_part(name: str, setup: Setup) -> bool:
    """Run a part and write its report; return whether it went through."""
    report, start = Report(), time.perf_counter()
    (setup.folder / f"{name}.started").touch()
    with report.guard(f"{name} as a whole"):
        getattr(import_module(f"benchmarks.gpu.{PARTS[name]}"), name)(setup, report)
    record = {"part": name, "seconds": time.perf_counter() - start, **report.plain()}
    write_file(setup.folder / f"{name}.json", json.dumps(record, default=str))
    return not report.errors


if __name__ == "__main__":
    folder, rehearse, *parts = sys.argv[1:]
    setup = Setup(rehearse == "True", Path(folder))
    for part in parts:
        if not run_part(part, setup):
            sys.exit(3)
