"""The examples in docstrings run."""

from __future__ import annotations

import doctest
import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import clusterseg
from clusterseg.data import augment, corrupt, transforms

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


def of_module(module: ModuleType) -> list[Any]:
    """What a module lets its users call."""
    names = getattr(module, "__all__", None) or [name for name in vars(module) if name.startswith("Random")]
    return [value for name in names if callable(value := getattr(module, name))]


def public() -> list[Any]:
    """Everything of which docs/reference.md and the package say that a program may use it, and what YAML names."""
    page = (PACKAGE.parent / "docs/reference.md").read_text()
    named = [path.rpartition(".") for path in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]
    listed = [getattr(import_module(module), name) for module, _, name in named]
    ours = [getattr(clusterseg, name) for name in clusterseg.__all__ if name != "__version__"]
    return [*listed, *ours, *of_module(transforms), *of_module(augment), *of_module(corrupt)]


def test_what_a_user_calls_has_an_example() -> None:
    inside = {"ensure_bank", "partners", "check_corruptions"}  # called by the data module and the command
    lacking = {each.__name__ for each in public() if ">>> " not in (inspect.getdoc(each) or "")}
    assert lacking == inside
    assert {each.__module__ for each in public()} - set(WITH_EXAMPLES) <= {
        f"{augment.__name__}.{name}" for name in ("collect", "partners")
    }


def test_the_reference_shows_what_the_package_lists() -> None:
    page = (PACKAGE.parent / "docs/reference.md").read_text()
    assert {name for name in clusterseg.__all__ if f"::: clusterseg.{name}\n" not in page} == {"__version__"}
