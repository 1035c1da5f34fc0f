"""The examples in docstrings run."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import clusterseg

PACKAGE = Path(clusterseg.__file__).parent
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str, tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_run / "run/checkpoints")  # where best.ckpt lies
    module = import_module(name)
    ran, failed = 0, []
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs=dict(vars(module))):
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=failed.append)
        ran += len(test.examples)
    assert not failed, "".join(failed)
    assert ran, "an example that is not found is not run"


def test_there_are_some() -> None:
    assert {"clusterseg.build.model", "clusterseg.data.reader"} <= set(WITH_EXAMPLES)
