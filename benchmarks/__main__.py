"""Measure: `python -m benchmarks NAME|all [--out DIR] [--write docs/benchmarks.md]`; `gpu` and its own options.

Each table goes to the screen and, with the machine and the versions, to DIR/NAME.json and DIR/NAME.md; `--write` makes
the page of all tables that lie in DIR.
"""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

from benchmarks.options import ROOT, add_options, read_options
from benchmarks.page import page
from benchmarks.tables import Table, machine, machine_line
from clusterseg.commands.allocator import keep_freed_memory
from clusterseg.errors import UserError
from clusterseg.files import write_file

#: In the order of the page; `all` takes these.
NAMES = ("evaluation", "network", "engine", "losses", "head", "data", "startup", "scaling")
#: Minutes of its own: a cloud of five million points.
LONG = ("large",)
#: Programs with options of their own: `python -m benchmarks kills --help`.
SCRIPTS = ("augment", "synthetic", "kills", "collisions", "fuzz_clouds")
NAMES_HELP = f"all: {', '.join(NAMES)}; by name alone: {', '.join((*LONG, 'gpu', *SCRIPTS))}"


def main(arguments: list[str]) -> int:
    keep_freed_memory()  # as the commands do
    if arguments[:1] == ["gpu"]:
        return int(import_module("benchmarks.gpu.kit").main(arguments[1:]))
    if arguments and arguments[0] in SCRIPTS:
        sys.argv = [f"python -m benchmarks {arguments[0]}", *arguments[1:]]
        runpy.run_module(f"benchmarks.{arguments[0]}", run_name="__main__")
        return 0
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=[*NAMES, *LONG, "all", "gpu", *SCRIPTS], metavar="NAME", help=NAMES_HELP)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "benchmarks")
    parser.add_argument("--write", type=Path, help="make this page of all tables in --out")
    add_options(parser)
    given = parser.parse_args(arguments)
    failed = run_all(arguments, given.out) if given.name == "all" else 0
    if given.name != "all":
        measure(given.name, given)
    if given.write:
        write_file(given.write, page(given.out, (*NAMES, *LONG)))
    return failed


def measure(name: str, given: argparse.Namespace) -> None:
    """Make the tables of one name."""
    start = time.monotonic()
    options = read_options(given)
    tables: list[Table] = import_module(f"benchmarks.{name}").run(options)
    where = machine()
    text = "\n".join(table.markdown() for table in tables)
    kind = "real" if options.data is not None else "streets"
    seconds = time.monotonic() - start
    found = {"name": name, "machine": where, "scans": kind, "quick": options.quick, "seconds": seconds}
    content = json.dumps({**found, "tables": [table.plain() for table in tables]}, indent=1, default=str)
    write_file(given.out / f"{name}.json", content + "\n")
    write_file(given.out / f"{name}.md", f"{machine_line(where)}\n\n{text}")
    print(f"{machine_line(where)}\n\n{text}\n{name}: {seconds:.0f} s", flush=True)


def run_all(arguments: list[str], out: Path) -> int:
    """Make all tables, each name in a process of its own; return how many failed."""
    start, failed = time.monotonic(), []
    rest = [argument for argument in arguments if argument != "all"]
    for name in NAMES:
        command = [sys.executable, "-m", "benchmarks", name, *rest]
        if subprocess.run(command, cwd=ROOT).returncode:
            failed.append(name)
    print(f"all: {time.monotonic() - start:.0f} s; JSON and Markdown in {out}")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as mistake:
        sys.exit(f"error: {mistake}")
