from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clusterseg.data.sequences import find_sequences, list_scans, sequence_names
from clusterseg.errors import UserError

MakeRoot = Callable[..., Path]
KEY = "data.sequences.train"


@pytest.mark.parametrize("under", ["", "sequences"])
def test_both_layouts(make_root: MakeRoot, under: str) -> None:
    root = make_root({"00": 2, "08": 1}, under=under)
    assert list(find_sequences(root)) == ["00", "08"]
    files = list_scans(root, ["08", "00"], KEY, require_labels=True)
    assert [f.scan_id for f in files] == ["08/000000", "00/000000", "00/000001"]
    assert all(f.scan.is_file() and f.label is not None and f.label.is_file() for f in files)


@pytest.mark.parametrize(
    "entries, names",
    [([0, "08", "8x", 10], ("00", "08", "8x", "10")), (["00"], ("00",)), (8, ("08",)), ("8", ("08",)), ([], ())],
)
def test_sequence_names(entries: list | int | str, names: tuple[str, ...]) -> None:
    assert sequence_names(entries, KEY) == names


@pytest.mark.parametrize("entry", [1.5, True, None, [0]])
def test_what_is_no_sequence(entry: object) -> None:
    with pytest.raises(UserError, match=r"data\.sequences\.train: .* is not a sequence; .*=\[00,08\]"):
        sequence_names([entry], KEY)


def test_listed_twice() -> None:
    with pytest.raises(UserError, match="listed twice"):
        sequence_names([0, "00"], KEY)


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root=.*nowhere: no such folder; set data\.root to"):
        find_sequences(tmp_path / "nowhere")


def test_root_of_another_layout(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    with pytest.raises(UserError, match=r"looked for .*/00/velodyne and .*/sequences/00/velodyne; set data\.root"):
        find_sequences(tmp_path)


def test_root_is_itself_a_sequence(make_root: MakeRoot) -> None:
    root = make_root({"00": 1})
    with pytest.raises(UserError, match=rf"itself one sequence: set data\.root={root}$"):
        find_sequences(root / "00")


def test_missing_sequence_lists_those_present(make_root: MakeRoot) -> None:
    root = make_root({"00": 1, "02": 1})
    with pytest.raises(UserError, match=r"sequences 01, 03 are missing; present: 00, 02.*train=\[00,02\]"):
        list_scans(root, ["00", "01", "02", "03"], KEY, require_labels=True)


def test_sequence_without_scans(make_root: MakeRoot) -> None:
    root = make_root({"00": 1})
    (root / "00" / "velodyne" / "000000.bin").unlink()
    with pytest.raises(UserError, match=r"00/velodyne: no \.bin files"):
        list_scans(root, ["00"], KEY, require_labels=True)


def test_scan_without_label(make_root: MakeRoot) -> None:
    root = make_root({"00": 3})
    (root / "00" / "labels" / "000001.label").unlink()
    with pytest.raises(UserError, match=r"00/labels/000001\.label: no label for .*000001\.bin"):
        list_scans(root, ["00"], KEY, require_labels=True)
    files = list_scans(root, ["00"], KEY, require_labels=False)
    assert [f.label is None for f in files] == [False, True, False]


def test_sizes_are_checked_before_training(make_root: MakeRoot) -> None:
    root = make_root({"00": 1, "01": 1, "02": 1})
    with (root / "00" / "velodyne" / "000000.bin").open("ab") as file:
        file.write(b"abc")
    (root / "01" / "velodyne" / "000000.bin").write_bytes(b"")
    np.zeros(399, np.uint32).tofile(root / "02" / "labels" / "000000.label")
    for name, message in [("00", "not a multiple of 16"), ("01", "empty"), ("02", "399 labels .* 400 points")]:
        with pytest.raises(UserError, match=rf"{name}/.*/000000\.(bin|label): .*{message}"):
            list_scans(root, [name], KEY, require_labels=True)


def test_real_scans(shared: Path) -> None:
    root = shared / "data" / "semantickitti_mini"
    files = list_scans(root, find_sequences(root), KEY, require_labels=True)
    assert len(files) == 40
    assert files == list_scans(root / "sequences", find_sequences(root), KEY, require_labels=True)


@pytest.mark.parametrize("name, read", [("2011_09_26", 20110926), ("007", 7)])
def test_a_name_that_is_read_as_a_number(make_root: MakeRoot, name: str, read: int) -> None:
    """It is told how to write it; in quotes it is found."""
    root = make_root({name: 1, "08": 1})
    with pytest.raises(UserError, match=rf"{name} was read as a number.*\"{KEY}=\['{name}'\]\"$"):
        list_scans(root, sequence_names([read], KEY), KEY, require_labels=True)
    assert len(list_scans(root, sequence_names([name], KEY), KEY, require_labels=True)) == 1


def test_a_name_that_is_read_as_another_kind_of_number() -> None:
    with pytest.raises(UserError, match=rf"1000\.0 is not a sequence.*in quotes: \"{KEY}=\['NAME'\]\""):
        sequence_names([1e3], KEY)


def test_a_link_that_leads_nowhere(make_root: MakeRoot) -> None:
    root = make_root({"00": 1})
    (root / "00" / "velodyne" / "000009.bin").symlink_to("/nowhere")
    with pytest.raises(UserError, match=r"000009\.bin: cannot be read .*leads nowhere\); mend it or remove it"):
        list_scans(root, ["00"], KEY, require_labels=True)
