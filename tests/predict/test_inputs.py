"""Which files are taken as clouds, and where their labels go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clusterseg.errors import UserError
from clusterseg.predict.targets import plan


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def planned(source: Path, output: Path) -> dict[str, str]:
    return {str(f.relative_to(source)): str(t.relative_to(output)) for f, t in plan(source, output).items()}


def test_hidden_files_and_foreign_folders_are_passed_over(tmp_path: Path) -> None:
    touch(*(tmp_path / "in" / name for name in ("a.bin", "b/c.PLY", "._a.bin", ".hidden/d.bin", "__MACOSX/._a.bin")))
    touch(tmp_path / "in/08/voxels/000000.bin", tmp_path / "in/08/velodyne/000000.bin", tmp_path / "in/notes.txt")
    assert planned(tmp_path / "in", tmp_path / "out") == {
        "08/velodyne/000000.bin": "08/velodyne/000000.label",
        "a.bin": "a.label",
        "b/c.PLY": "b/c.label",
    }


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere/a.bin", tmp_path / "elsewhere/deep/b.bin", tmp_path / "in/own/c.bin")
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/again").symlink_to(tmp_path / "in/own")
    (tmp_path / "elsewhere/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/dangling").symlink_to(tmp_path / "nothing")
    assert sorted(planned(tmp_path / "in", tmp_path / "out")) == ["link/a.bin", "link/deep/b.bin", "own/c.bin"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", "kitti/sequences/08/predictions/000000.label"),
        ("kitti", "sequences/08/predictions/000000.label"),
        ("kitti/sequences", "sequences/08/predictions/000000.label"),
        ("kitti/sequences/08", "sequences/08/predictions/000000.label"),
        ("kitti/sequences/08/velodyne", "000000.label"),
        ("kitti/sequences/08/velodyne/000000.bin", "000000.label"),
    ],
)
def test_scans_of_a_sequence_go_where_the_benchmark_looks(tmp_path: Path, source: str, expected: str) -> None:
    touch(tmp_path / "in/kitti/sequences/08/velodyne/000000.bin")
    (target,) = plan(tmp_path / "in" / source, tmp_path / "out").values()
    assert target == tmp_path / "out" / expected


def test_predictions_of_earlier_runs_are_no_input(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.npy", tmp_path / "in/old/a.ply", tmp_path / "in/old/mine.ply")
    (tmp_path / "in/old/predict.json").write_text(json.dumps({"checkpoints": [], "targets": ["a.label", "a.ply"]}))
    assert sorted(planned(tmp_path / "in", tmp_path / "out")) == ["a.npy", "old/mine.ply"]


def test_a_link_that_leads_nowhere_is_listed(tmp_path: Path) -> None:
    touch(tmp_path / "in/a.bin")
    (tmp_path / "in/b.bin").symlink_to(tmp_path / "nothing")
    assert sorted(planned(tmp_path / "in", tmp_path / "out")) == ["a.bin", "b.bin"]


def test_nothing_but_hidden_files(tmp_path: Path) -> None:
    touch(tmp_path / "in/._a.bin")
    with pytest.raises(UserError, match="no point cloud in it"):
        plan(tmp_path / "in", tmp_path / "out")
