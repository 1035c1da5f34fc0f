"""Names of temporary files, on a disk that several machines share."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusterseg.files import replacing, temporary_name


def test_two_machines_have_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 7)
    names = []
    for host in ("a.cluster.org", "b.cluster.org", ""):
        monkeypatch.setattr("platform.node", lambda host=host: host)
        names.append(temporary_name("last.ckpt"))
    assert names == [".last.ckpt.a_cluster_org-7.tmp", ".last.ckpt.b_cluster_org-7.tmp", ".last.ckpt.-7.tmp"]


def test_what_is_left_is_found_whoever_left_it(tmp_path: Path) -> None:
    left = {tmp_path / temporary_name("last.ckpt"), tmp_path / ".best.ckpt.7.tmp"}
    for path in left:
        path.touch()
    (tmp_path / "last.ckpt").touch()
    assert set(tmp_path.glob(temporary_name("*.ckpt", "*"))) == left


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "a") as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
