from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from fake_scans import random_points

from clusterseg.data.scan import naming, read_labels, read_scan, write_labels, write_scan
from clusterseg.errors import UserError


def test_round_trip_and_layout(tmp_path: Path) -> None:
    points = random_points(50)
    labels = (np.arange(50) | 3 << 16).astype(np.uint32)
    write_scan(tmp_path / "a" / "0.bin", points)
    write_labels(tmp_path / "b" / "0.label", labels)
    assert (tmp_path / "a" / "0.bin").read_bytes() == points.astype("<f4").tobytes()
    np.testing.assert_array_equal(read_scan(tmp_path / "a" / "0.bin"), points)
    np.testing.assert_array_equal(read_labels(tmp_path / "b" / "0.label", 50), labels)
    assert [p.name for p in sorted(tmp_path.rglob("*")) if p.is_file()] == ["0.bin", "0.label"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "0.label"
    write_labels(path, np.array([10]))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match=r"0\.label: cannot be written \(No space left"):
        write_labels(path, np.array([40, 40]))
    assert read_labels(path, 1).tolist() == [10]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot be written .*choose a folder"):
        write_labels(tmp_path / "out" / "0.label", np.array([10]))


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"0\.bin: no such scan"):
        read_scan(tmp_path / "0.bin")
    with pytest.raises(UserError, match=r"0\.label: no such label file"):
        read_labels(tmp_path / "0.label", 1)


def test_size_is_no_multiple_of_16(tmp_path: Path) -> None:
    (tmp_path / "0.bin").write_bytes(bytes(33))
    with pytest.raises(UserError, match=r"0\.bin: 33 bytes is not a multiple of 16"):
        read_scan(tmp_path / "0.bin")


def test_empty_scan(tmp_path: Path) -> None:
    (tmp_path / "0.bin").touch()
    with pytest.raises(UserError, match=r"0\.bin: the scan is empty"):
        read_scan(tmp_path / "0.bin")


@pytest.mark.parametrize("size", [36, 44, 38])
def test_label_of_another_length(tmp_path: Path, size: int) -> None:
    (tmp_path / "0.label").write_bytes(bytes(size))
    with pytest.raises(UserError, match=rf"0\.label: {size} bytes are .* scan has 10 points"):
        read_labels(tmp_path / "0.label", 10)


def test_naming_puts_the_file_in_front() -> None:
    with pytest.raises(UserError, match=r"^a/0\.bin: bad"), naming(Path("a/0.bin")):
        raise UserError("bad")
