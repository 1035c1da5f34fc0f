"""The submission: raw ids of every point, and broken zips refused, each with its own message."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from benchmark import LEARNING_MAP, LEARNING_MAP_INV
from warm_process import command

from clusterseg.commands.front_door import run
from clusterseg.data.label_map import load_label_map
from clusterseg.data.scan import write_scan
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.errors import UserError
from clusterseg.predict.packing import LabelWriter, pack
from clusterseg.predict.prediction import PredictedScan
from clusterseg.predict.validate import TEST_SCANS, track_of, validate

NAME = SemanticKittiReader("").prediction_name
SCANS = ("11/000000", "11/000001", "12/000000")
POINTS = 40
Broken = Callable[[Path], Path]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    for scan_id in SCANS:
        sequence, frame = scan_id.split("/")
        write_scan(folder / sequence / "velodyne" / f"{frame}.bin", np.ones((POINTS, 4), np.float32))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A valid submission folder with its ``good.zip`` beside it."""
    write = LabelWriter(tmp_path / "submission", NAME, load_label_map("semantickitti"))
    for scan_id in SCANS:
        train = np.arange(POINTS) % 19
        write(PredictedScan(scan_id, np.ones((POINTS, 4), np.float32), train, train, np.ones(POINTS, np.float32)))
    pack(tmp_path / "submission", map(NAME, SCANS), tmp_path / "good.zip")
    return tmp_path / "submission"


def test_a_good_one_passes_as_zip_and_as_folder(folder: Path, root: Path) -> None:
    for path in (folder, folder.with_name("good.zip")):
        checked = validate(path, root)
        assert (checked.scans, checked.complete) == (3, False)
        assert "NOT ready" in checked.verdict(path)
    with zipfile.ZipFile(folder.with_name("good.zip")) as archive:
        assert {"sequences/", "sequences/11/", "sequences/11/predictions/"} <= set(archive.namelist())
        labels = np.frombuffer(archive.read("sequences/11/predictions/000001.label"), np.uint32)
        description = archive.read("description.txt").decode()
    assert labels.tolist() == [LEARNING_MAP_INV[i % 19 + 1] for i in range(POINTS)]
    assert description.startswith("method name: ")


def test_packing_twice_gives_the_same_bytes_and_keeps_the_description(folder: Path) -> None:
    first = folder.with_name("good.zip").read_bytes()
    pack(folder, map(NAME, reversed(SCANS)), folder.with_name("again.zip"))
    assert folder.with_name("again.zip").read_bytes() == first
    (folder / "description.txt").write_text("method name: mine\n")
    pack(folder, map(NAME, SCANS), folder.with_name("mine.zip"))
    with zipfile.ZipFile(folder.with_name("mine.zip")) as archive:
        assert archive.read("description.txt") == b"method name: mine\n"


def test_raw_ids_come_back_as_the_inverse_map() -> None:
    label_map = load_label_map("semantickitti")
    for raw, benchmark_class in LEARNING_MAP.items():
        written = label_map.to_raw(label_map.to_train(np.array([raw])))
        assert written.tolist() == [LEARNING_MAP_INV.get(benchmark_class, 0)], raw


def test_all_scans_of_the_benchmark_are_ready(tmp_path: Path) -> None:
    names = [NAME(f"{s}/{i:06d}") for s, n in TEST_SCANS.items() for i in range(n)]
    with zipfile.ZipFile(tmp_path / "whole.zip", "w") as archive:
        for entry in ["sequences/", *(f"sequences/{s}{end}" for s in TEST_SCANS for end in ("/", "/predictions/"))]:
            archive.writestr(entry, b"")
        for name in names:
            archive.writestr(name, np.uint32([10]).tobytes())
    checked = validate(tmp_path / "whole.zip")
    assert (checked.scans, checked.complete) == (20351, True)
    assert "ready to upload" in checked.verdict(tmp_path / "whole.zip")


def packed(folder: Path, entries: bool = True) -> Path:
    """Zip a folder as it is."""
    target = folder.with_name("broken.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if entries or path.is_file():
                archive.write(path, path.relative_to(folder))
    return target


def labels(folder: Path, content: bytes | np.ndarray, name: str = "sequences/12/predictions/000000.label") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.astype(np.uint32).tobytes())
    return packed(folder)


def removed(folder: Path, name: str) -> Path:
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    return packed(folder)


def renamed(folder: Path, old: str, new: str) -> Path:
    (folder / new).parent.mkdir(parents=True, exist_ok=True)
    (folder / old).rename(folder / new)
    return packed(folder)


def nothing(folder: Path) -> Path:
    zipfile.ZipFile(folder.with_name("broken.zip"), "w").close()
    return folder.with_name("broken.zip")


def no_zip(folder: Path) -> Path:
    folder.with_name("broken.zip").write_bytes(b"not a zip at all")
    return folder.with_name("broken.zip")


def cut_short(folder: Path) -> Path:
    whole = packed(folder).read_bytes()
    folder.with_name("broken.zip").write_bytes(whole[: len(whole) // 2])
    return folder.with_name("broken.zip")


def damaged(folder: Path) -> Path:
    path = packed(folder)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("sequences/12/predictions/000000.label")
    content = bytearray(path.read_bytes())
    content[info.header_offset + 30 + len(info.filename) + 4] ^= 0xFF
    path.write_bytes(content)
    return path


def encrypted(folder: Path) -> Path:
    path = packed(folder)
    content = path.read_bytes()
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.rindex(magic) + flags
        content = content[:at] + bytes([content[at] | 1]) + content[at + 1 :]
    path.write_bytes(content)
    return path


def appended(folder: Path, name: str) -> Path:
    path = packed(folder)
    with pytest.MonkeyPatch.context() as patch, zipfile.ZipFile(path, "a") as archive:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        archive.writestr(name, np.full(POINTS, 10, np.uint32).tobytes())
    return path


def wrapped(folder: Path) -> Path:
    (folder / "out").mkdir()
    (folder / "sequences").rename(folder / "out" / "sequences")
    return packed(folder)


def other_ending(folder: Path) -> Path:
    return packed(folder).rename(folder.with_name("broken.tar"))


GOOD = np.full(POINTS, 10)
BROKEN: dict[str, tuple[Broken, str]] = {
    "no such file": (lambda f: f.with_name("nowhere.zip"), "no such file"),
    "another ending": (other_ending, r"takes a \.zip only"),
    "no zip": (no_zip, "not a zip file"),
    "cut short": (cut_short, "cut short"),
    "damaged": (damaged, "damaged inside"),
    "encrypted": (encrypted, "encrypted"),
    "nothing inside": (nothing, "holds no file"),
    "twice": (lambda f: appended(f, "sequences/11/predictions/000000.label"), "more than once"),
    "outside": (lambda f: appended(f, "../../evil.label"), "outside"),
    "wrapped": (wrapped, "lies inside out/"),
    "no sequences": (lambda f: renamed(f, "sequences", "predictions"), "no folder `sequences`"),
    "no folder entries": (lambda f: packed(f, entries=False), "no entry for the folder sequences/"),
    "sequence missing": (lambda f: removed(f, "sequences/12"), "sequence 12 is missing"),
    "no folder predictions": (
        lambda f: renamed(f, "sequences/12/predictions", "sequences/12/labels"),
        "not in a folder `predictions`",
    ),
    "scan missing": (lambda f: removed(f, "sequences/11/predictions/000001.label"), "1 of 3 scans are missing"),
    "scan too many": (lambda f: labels(f, GOOD, "sequences/11/predictions/000009.label"), "belongs to no scan"),
    "training sequence": (lambda f: labels(f, GOOD, "sequences/08/predictions/000000.label"), "no test sequence"),
    "frame not padded": (lambda f: labels(f, GOOD, "sequences/11/predictions/2.label"), "six digits"),
    "foreign file": (lambda f: labels(f, b"x", "sequences/11/.DS_Store"), "does not belong"),
    "empty file": (lambda f: labels(f, b""), "is empty"),
    "half a label": (lambda f: labels(f, b"abcdef"), "6 bytes, not a whole number"),
    "points missing": (lambda f: labels(f, GOOD[1:]), "39 labels, its scan 40 points"),
    "train ids": (lambda f: labels(f, np.arange(POINTS) % 19 + 1), "train ids"),
    "unlabelled": (lambda f: labels(f, np.where(np.arange(POINTS) < 3, 0, 40)), "leaves 3 points unlabelled"),
    "ids of no class": (lambda f: labels(f, np.where(np.arange(POINTS) < 3, 77, 40)), r"no class: \[77\]"),
    "ignored class": (lambda f: labels(f, np.where(np.arange(POINTS) < 3, 99, 40)), r"no class: \[99\]"),
    "instances": (lambda f: labels(f, GOOD | 5 << 16), "instance numbers"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_ones_are_refused(folder: Path, root: Path, kind: str) -> None:
    breaking, message = BROKEN[kind]
    with pytest.raises(UserError, match=message) as refused:
        validate(breaking(folder), root)
    others = {text for _, text in BROKEN.values()} - {message}
    assert not any(other in str(refused.value) for other in others), "the message is this kind's own"


def test_moving_ids_count_as_their_class(folder: Path, root: Path) -> None:
    assert validate(labels(folder, np.full(POINTS, 252)), root).scans == 3


def test_the_track_of_several_scans(tmp_path: Path, folder: Path, root: Path) -> None:
    still = validate(folder, root, "multi")
    assert "no point has a moving id (252-259): six of the 25 classes would score 0" in still.verdict(folder)
    assert "moving id" not in validate(folder, root).verdict(folder), "nothing to say in the other track"
    several = load_label_map("semantickitti_multiscan")
    write = LabelWriter(tmp_path / "several", NAME, several)
    for scan_id in SCANS:
        train = np.arange(POINTS) % 25
        write(PredictedScan(scan_id, np.ones((POINTS, 4), np.float32), train, train, np.ones(POINTS, np.float32)))
    pack(tmp_path / "several", map(NAME, SCANS), tmp_path / "several.zip")
    checked = validate(tmp_path / "several.zip", root, track_of(several))
    assert (checked.scans, checked.track, checked.moving) == (3, "multi", True)
    assert "moving" not in checked.verdict(tmp_path / "several.zip")
    assert track_of(load_label_map("semantickitti")) == "single"
    with pytest.raises(UserError, match=r"no class: \[77\]"):
        validate(labels(folder, np.where(np.arange(POINTS) < 3, 77, 252)), root, "multi")
    with pytest.raises(UserError, match="these are train ids"):
        validate(labels(folder, np.arange(POINTS) % 25 + 1), root, "multi")


def test_the_command(folder: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = command(["submission", str(folder), f"data.root={root}"], folder.parent)
    assert code == 0 and "NOT ready to upload" in said
    with pytest.raises(SystemExit) as exit_:
        run("submission", [str(no_zip(folder))])
    assert exit_.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
