"""Runs every part of the kit in processes of its own, with time limits, and writes one JSON and one Markdown file."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.setup import environment
from benchmarks.gpu.worker import PARTS
from benchmarks.options import ROOT
from benchmarks.tables import Table, machine, machine_line
from clusterseg.errors import UserError
from clusterseg.files import write_file

#: Seconds for all parts together; what has not begun by then is listed as left out.
WHOLE = 460.0
#: Seconds for one part.
LIMIT = 150.0


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m benchmarks gpu", description=__doc__)
    parser.add_argument(
        "--rehearse", action="store_true", help="on the CPU, with tiny inputs: does the kit itself run?"
    )
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "benchmarks")
    given = parser.parse_args(arguments)
    if not given.rehearse and not torch.cuda.is_available():
        raise UserError("PyTorch sees no GPU on this machine; python -m benchmarks gpu --rehearse runs the kit without")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        records = run_parts(given.parts, Path(folder), given.rehearse)
    name = "gpu_rehearsal" if given.rehearse else "gpu"
    whole = {"rehearsal": given.rehearse, "machine": machine(), "seconds": time.monotonic() - start, "parts": records}
    write_file(given.out / f"{name}.json", json.dumps(whole, indent=1, default=str) + "\n")
    text = markdown(whole)
    write_file(given.out / f"{name}.md", text)
    print(text)
    return 0 if all(record["status"] == "ok" for record in records) else 1


def run_parts(parts: list[str], folder: Path, rehearse: bool) -> list[dict[str, Any]]:
    """Run the parts; whatever becomes of one, the others are run."""
    found: dict[str, dict[str, Any]] = {}
    end = time.monotonic() + WHOLE
    while (left := [part for part in parts if part not in found]) and time.monotonic() < end:
        done, why = run_worker(left, folder, rehearse, end)
        found |= done
        if why is not None:  # the part that it was in
            at = next((part for part in left if part not in done), None)
            if at is not None:
                found[at] = _record(at, "failed", why)
    late = f"not begun: the {WHOLE:.0f} s of the kit were over"
    return [found.get(part) or _record(part, "left out", late) for part in parts]


def run_worker(
    parts: list[str], folder: Path, rehearse: bool, end: float
) -> tuple[dict[str, dict[str, Any]], str | None]:
    """Run a process for the parts until it ends or one takes too long; return their records, and what ended it."""
    log = folder / "log.txt"
    command = [sys.executable, "-m", "benchmarks.gpu.worker", str(folder), str(rehearse), *parts]
    with open(log, "w") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment(rehearse, folder),
            start_new_session=True,
        )
        why = _watch(process, parts, folder, end)
    records = {part: _read(folder / f"{part}.json") for part in parts if (folder / f"{part}.json").is_file()}
    status = process.returncode
    if why is None and status not in (0, 3):
        why = f"the process ended with status {status}: {_tail(log)}"
    return records, why


def _watch(process: subprocess.Popen[bytes], parts: list[str], folder: Path, end: float) -> str | None:
    """Wait for a process; end it, and everything that it started, when a part takes too long."""
    since, number = time.monotonic(), 0
    while process.poll() is None:
        done = sum((folder / f"{part}.json").is_file() for part in parts)
        if done != number:
            since, number = time.monotonic(), done
        now = time.monotonic()
        if now - since > LIMIT or now > end:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"took more than {now - since:.0f} s and was ended: {_tail(folder / 'log.txt')}"
        time.sleep(0.1)
    return None


def _read(file: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(file.read_text())
    fine = all(holds for _, holds, _ in record["checks"])
    return {**record, "status": "ok" if fine else "failed"}


def _record(part: str, status: str, why: str) -> dict[str, Any]:
    return {"part": part, "status": status, "seconds": None, "tables": [], "checks": [], "notes": [why], "errors": []}


def _tail(file: Path) -> str:
    return " / ".join(file.read_text(errors="replace").strip().splitlines()[-3:])[-600:]


def markdown(whole: dict[str, Any]) -> str:
    """The report for people."""
    kind = "Rehearsal on the CPU: the figures mean nothing, only that the kit runs. " if whole["rehearsal"] else ""
    lines = [f"{kind}{machine_line(whole['machine'])}; {whole['seconds']:.0f} s in all.", ""]
    summary = Table("Parts", ["part", "status", "s", "checks"])
    for record in whole["parts"]:
        held = sum(holds for _, holds, _ in record["checks"])
        checks = f"{held} of {len(record['checks'])}" if record["checks"] else None
        summary.add(record["part"], record["status"], record["seconds"], checks)
    lines.append(summary.markdown())
    for record in whole["parts"]:
        lines += [f"## {record['part']}", "", *(f"{note}\n" for note in record["notes"])]
        lines += [
            f"- {'holds' if holds else 'FAILS'}: {what}{_after(details)}" for what, holds, details in record["checks"]
        ]
        lines += ["", *(Table(**table).markdown() for table in record["tables"])]
        lines += [f"```\n{error}\n```\n" for error in record["errors"]]
    return "\n".join(lines)


def _after(details: str) -> str:
    return f" ({details})" if details else ""
