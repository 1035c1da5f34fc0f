from __future__ import annotations

from pathlib import Path

import pytest

from clusterseg.data import cache
from clusterseg.data.cache import Cache


def test_the_folder_given(tmp_path: Path) -> None:
    assert Cache(tmp_path / "here", tmp_path).path("a") == tmp_path / "here" / "a"
    assert Cache("~/here").path("a") == Path.home() / "here" / "a"


def test_beside_the_data_or_with_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    beside, users = tmp_path / ".clusterseg" / "a", tmp_path / "user" / "clusterseg" / "a"
    assert Cache(root=tmp_path).path("a") == beside
    assert Cache().path("a") == users
    monkeypatch.setattr(cache.os, "access", lambda path, mode: False)
    assert Cache(root=tmp_path).path("a") == users
    beside.parent.mkdir()
    beside.touch()
    assert Cache(root=tmp_path).path("a") == beside, "of another user, who may write there"
