"""The page of the last tables, made from their JSON files alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import Table, machine_line

HEADER = """# What things cost

Made by `python -m benchmarks all --write docs/benchmarks.md`, meant for two quiet cores and 12 minutes; a single
table is made anew by `python -m benchmarks NAME --write docs/benchmarks.md`. Not to be edited by hand.

- Figures are medians over the rounds of one run. Every case has its turn in each round, and so have two yardsticks: a
  plain product of two matrices of 2,048 x 2,048 float32, and a copy of 256 MB. Shares compare a case with the
  yardstick of its own round.
- The *floor* is the useful arithmetic (2 x pairs x inputs x outputs; three times that for a training step) at the speed
  of the yardstick. Nothing but the products is counted, so 100 % cannot be reached.
- Peak memory is that of a process which does nothing else, Python and PyTorch included.
- "Real scan" is one of SemanticKITTI's sequence 08, given by `--data DIR`; without one a synthetic street takes its
  place.
"""

GPU = """## On a GPU

**Nothing here has been measured on a GPU: no such machine was at hand.** `python -m benchmarks gpu` asks in one call,
in less than 8 minutes, what a first hour on one should answer, and writes `gpu.json` and `gpu.md`: the network's
known values in float32, TF32, bfloat16 and float16; the engines side by side with both gradients; the time of each
layer shape as a share of the peak; evaluation of a scan and a training step of four, with the host's part, the
synchronisations and the memory; the kernel maps; tuning and compiling at the start; the loader; an epoch with the
head in bf16-mixed; NCCL with one rank; `deterministic=true`; a resumed run, bit for bit; and `pytest -m gpu`. Parts
run in processes of their own with a time limit: a fault in one, also one that leaves the device unusable, does not
hide the others.

`python -m benchmarks gpu --rehearse` runs the same parts on the CPU with tiny inputs, and the Triton kernels in
Triton's interpreter where Triton is installed. The tests run it, so that a first real run finds only real problems.
What a CPU cannot rehearse: that the kernels compile for the device, how long they take, NCCL, TF32, and CUDA's own
orders of sums.
"""


def page(folder: Path, names: Sequence[str]) -> str:
    """The page of all tables in a folder, in order."""
    parts = [HEADER]
    found = {name: json.loads(path.read_text()) for name in names if (path := folder / f"{name}.json").is_file()}
    machines = {machine_line(record["machine"]) for record in found.values()}
    if len(machines) == 1:
        parts.append(f"Machine: {machines.pop()}.\n")
    for name, record in found.items():
        parts.append(f"## {name}\n")
        if machines:
            parts.append(f"Machine: {machine_line(record['machine'])}.\n")
        parts += [Table(**table).markdown() for table in record["tables"]]
    if not found:
        parts.append("No table has been made yet.\n")
    parts.append(_gpu(folder / "gpu.json"))
    return "\n".join(parts)


def _gpu(file: Path) -> str:
    record: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {"rehearsal": True}
    return GPU if record["rehearsal"] else f"## On a GPU\n\n{file.with_suffix('.md').read_text()}"
