"""The notebooks run, and are pages of the site."""

from __future__ import annotations

import ast
import json
import shlex
import sys
from pathlib import Path

import pytest
from notebook_run import NOTEBOOKS, run, run_cell, sources, store
from tiny_run import configure

from clusterseg.commands.front_door import COMMANDS, with_keys

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_parse_and_commands_compose(path: Path) -> None:
    lines = [source for _, source in sources(path)]
    for line in lines:
        if not line.startswith("!"):
            ast.parse(line)
            continue
        program, name, *given = shlex.split(line[1:].replace("\\\n", "").replace("$EPOCHS", "1"))
        assert program == "clusterseg"
        configure(name.replace("-", "_"), *with_keys(COMMANDS[name], given))
    assert any(line.startswith("!") for line in lines)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_a_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(str(ROOT / "docs/.hooks"))
    import notebooks

    text = notebooks.page(path)
    assert text.startswith("# ") and f"({path.name})" in text
    assert all(source.removeprefix("!") in text for _, source in sources(path))
    assert f"notebooks/{path.stem}.md" in (ROOT / "mkdocs.yml").read_text()
    cells = json.loads(path.read_text())["cells"]
    assert all("".join(output["text"]) in text for cell in cells for output in cell.get("outputs", []))


def test_cells_run_as_in_jupyter(tmp_path: Path) -> None:
    namespace: dict[str, object] = {}
    assert run_cell("a = 2\nprint(a)\na + 1", namespace) == "2\n3\n"
    assert run_cell("a + 1;", namespace) == ""
    cells = [{"cell_type": "markdown", "source": ["# T"]}, {"cell_type": "code", "source": ["print(1)"], "outputs": []}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    store(tmp_path / "a.ipynb", run(tmp_path / "a.ipynb", tmp_path))
    assert json.loads((tmp_path / "a.ipynb").read_text())["cells"][1]["outputs"][0]["text"] == ["1\n"]


#: Those that train.
SLOW = {"own_head"}


@pytest.mark.timeout(3600)  # on a machine that does much else
@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in SLOW)) for path in NOTEBOOKS]
)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTEBOOK_EPOCHS", "1")
    monkeypatch.setenv("NOTEBOOK_SEEDS", "2")
    monkeypatch.setattr(sys, "path", [*sys.path])
    printed = "\n".join(run(path, tmp_path).values())
    assert {"own_scan": "the same labels: True", "own_head": "pairs that would find 1 point"}[path.stem] in printed
