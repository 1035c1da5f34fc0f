"""The build hook compiles the engine where it can, and says why where it cannot."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small source and an old library."""
    (tmp_path / "one.c").write_text("int one(void) { return 1; }\n")
    (tmp_path / "libclusterseg.so").write_text("old")
    return tmp_path


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_it_compiles(hook: ModuleType, folder: Path) -> None:
    assert hook.build(folder) is None
    assert (folder / "libclusterseg.so").read_bytes()[1:4] == b"ELF"
    assert {path.name for path in folder.iterdir()} == {"one.c", "libclusterseg.so"}


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_compiler_that_fails(hook: ModuleType, folder: Path) -> None:
    (folder / "one.c").write_text("no C at all\n")
    reason = hook.build(folder)
    assert reason is not None and "failed: " in reason
    assert [path.name for path in folder.iterdir()] == ["one.c"], "an old library is not left either"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [("CLUSTERSEG_COMPILED", "0", "CLUSTERSEG_COMPILED=0"), ("CC", "no-such-compiler", "no C compiler (cc) found")],
)
def test_it_is_left_out(
    hook: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(key, value)
    assert hook.build(folder) == reason
    assert [path.name for path in folder.iterdir()] == ["one.c"]
