"""Poses and times of the KITTI layout, and each way in which the files can be wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from moving_scene import pose, row_of, write_rows, write_sequence

from clusterseg.data.multiscan import tracks
from clusterseg.data.poses import frame_times, lidar_poses
from clusterseg.data.reader import Scan
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.data.sequences import list_scans
from clusterseg.errors import UserError

Spoil = Callable[[Path], object]


def test_the_lidar_is_where_it_was(tmp_path: Path) -> None:
    folder = write_sequence(tmp_path, "00", 4)
    found = lidar_poses(folder)
    for frame, matrix in enumerate(found):
        expected = np.linalg.inv(pose(0.0)) @ pose(0.1 * frame)
        np.testing.assert_allclose(matrix, expected, atol=1e-6)
    np.testing.assert_allclose(frame_times(folder, 4), [0, 0.1, 0.2, 0.3])


def test_without_times_frames_are_a_tenth_of_a_second_apart(tmp_path: Path) -> None:
    assert frame_times(tmp_path, 3).tolist() == pytest.approx([0, 0.1, 0.2])


def lines(path: Path, keep: Callable[[list[str]], list[str]]) -> None:
    write_rows(path, keep(path.read_text().splitlines()))


MISTAKES: list[tuple[str, Spoil, str]] = [
    ("too few poses", lambda f: lines(f / "poses.txt", lambda rows: rows[:3]), r"poses\.txt: 3 lines, .*000004.*5 are"),
    ("no poses", lambda f: (f / "poses.txt").unlink(), r"poses\.txt: cannot be read \(No such file.*data\.window=1"),
    ("no calibration", lambda f: (f / "calib.txt").unlink(), r"calib\.txt: cannot be read"),
    ("no Tr", lambda f: lines(f / "calib.txt", lambda rows: rows[:1]), r"calib\.txt: has no line `Tr: `"),
    ("a short Tr", lambda f: write_rows(f / "calib.txt", ["Tr: 1 2 3"]), r"calib\.txt: Tr: got ' 1 2 3', expected 12"),
    ("a flat Tr", lambda f: write_rows(f / "calib.txt", [f"Tr: {row_of(np.zeros((4, 4)))}"]), r"cannot be inverted"),
    ("words", lambda f: lines(f / "poses.txt", lambda rows: ["a b", *rows[1:]]), r"line 1: got 'a b', expected 12"),
    ("a NaN", lambda f: lines(f / "poses.txt", lambda rows: [rows[0], "nan " * 12]), r"line 2: got 'nan"),
    ("bytes", lambda f: (f / "poses.txt").write_bytes(b"\xff\xfe"), r"poses\.txt: cannot be read \(it is no text\)"),
    ("few times", lambda f: write_rows(f / "times.txt", ["0.0"]), r"times\.txt: 1 lines"),
    ("times of two", lambda f: write_rows(f / "times.txt", ["0 1"] * 5), r"times\.txt: line 1: got '0 1', expected 1"),
]


@pytest.mark.parametrize(("what", "spoil", "message"), MISTAKES, ids=[m[0] for m in MISTAKES])
def test_a_wrong_file_is_named(tmp_path: Path, what: str, spoil: Spoil, message: str) -> None:
    spoil(write_sequence(tmp_path, "00", 5))
    with pytest.raises(UserError, match=message):
        tracks(list_scans(tmp_path, ["00"], "key", require_labels=True))


def test_a_frame_without_a_number(tmp_path: Path) -> None:
    folder = write_sequence(tmp_path, "00", 2)
    for kind, end in (("velodyne", "bin"), ("labels", "label")):
        (folder / kind / f"000001.{end}").rename(folder / kind / f"last.{end}")
    with pytest.raises(UserError, match=r"last\.bin: the file's name is no frame number"):
        tracks(list_scans(tmp_path, ["00"], "key", require_labels=True))


@pytest.mark.parametrize("sequence", ["03", "05"])
def test_a_calibration_of_kittis_images_without_tr(shared: Path, sequence: str) -> None:
    """The known lidar of the day is taken: what stands in real scans then lies on itself."""
    root = shared / "data" / "semantickitti_mini" / "sequences"
    if not root.is_dir():
        pytest.skip(f"no SemanticKITTI mini scans at {root}")
    reader = SemanticKittiReader(root, sequences={"train": [], "val": [sequence]}, window=2)
    reader.scans("val")
    scan, before = reader.read(f"{sequence}/000004"), reader.read(f"{sequence}/000002")
    assert scan.context is not None
    newest, moved, unmoved = (standing(part) for part in (scan, scan.context, before))
    gap, gap_unmoved = nearest(moved, newest), nearest(unmoved, newest)
    print(f"median distance to the nearest standing point {100 * gap:.1f} cm, unmoved {100 * gap_unmoved:.1f} cm")
    assert gap < 0.1 and gap < 0.5 * gap_unmoved


def standing(scan: Scan) -> np.ndarray:
    """The points of trunks, poles and traffic signs, which are upright and thin."""
    assert scan.labels is not None
    return scan.points[np.isin(scan.labels & 0xFFFF, [71, 80, 81]), :3]


def nearest(points: np.ndarray, others: np.ndarray) -> float:
    """Median distance of some points to the nearest of the others, in metres."""
    some = points[:: max(len(points) // 300, 1)]
    return float(np.median([np.linalg.norm(others - point, axis=1).min() for point in some]))
