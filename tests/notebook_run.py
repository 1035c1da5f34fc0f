"""Run the cells of a notebook without Jupyter; `python tests/notebook_run.py FILE` stores what they print."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import shlex
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from warm_process import command

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs/notebooks").glob("*.ipynb"))


def sources(path: Path) -> list[tuple[int, str]]:
    """The number and the source of each code cell."""
    cells = json.loads(path.read_text())["cells"]
    return [(number, "".join(cell["source"])) for number, cell in enumerate(cells) if cell["cell_type"] == "code"]


def run(path: Path, folder: Path) -> dict[int, str]:
    """Run every code cell in a folder; returns what each prints, by its number."""
    import matplotlib as mpl

    mpl.use("Agg")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells, before = sources(path), Path.cwd()
    os.chdir(folder)
    try:
        return {number: run_cell(source, namespace) for number, source in cells}
    finally:
        os.chdir(before)


def run_cell(source: str, namespace: dict[str, Any]) -> str:
    """Run one cell as Jupyter would: `!` is a command with `$NAME` filled in, a last expression is shown."""
    if source.startswith("!"):
        line = re.sub(r"\$(\w+)", lambda name: str(namespace[name[1]]), source[1:].replace("\\\n", ""))
        program, *arguments = shlex.split(line)
        assert program == "clusterseg", line
        code, said = command(arguments, Path.cwd())
        assert code == 0, f"{line}\n{said[-6000:]}"
        return said
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";") else None
    with redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "cell", "exec"), namespace)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)
            if value is not None:
                print(repr(value))
    return printed.getvalue()


def store(path: Path, printed: dict[int, str]) -> None:
    """Write what the cells of Python printed into the notebook; commands tell times and folders of one machine."""
    content = json.loads(path.read_text())
    for number, text in printed.items():
        cell = content["cells"][number]
        shown = [] if "".join(cell["source"]).startswith("!") or not text else text.splitlines(keepends=True)
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": shown}] if shown else []
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as here:
            store(Path(name), run(Path(name), Path(here)))
