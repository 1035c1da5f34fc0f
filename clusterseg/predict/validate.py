"""Check a submission as the benchmark's server does, and more: `clusterseg submission PATH`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clusterseg.data.label_map import IGNORE_INDEX, LabelMap, load_label_map
from clusterseg.data.sequences import find_sequences, list_scans
from clusterseg.errors import UserError
from clusterseg.predict.archive import FolderMembers, Members, ZipMembers

# Scans of the test sequences of SemanticKITTI (those of the KITTI odometry benchmark).
TEST_SCANS = {
    "11": 921, "12": 1061, "13": 3281, "14": 631, "15": 1901, "16": 1731,
    "17": 491, "18": 1801, "19": 4981, "20": 831, "21": 2721,
}  # fmt: skip
_DESCRIPTION = "description.txt"
#: The label map of each track of the benchmark.
TRACKS = {"single": "semantickitti", "multi": "semantickitti_multiscan"}
_MOVING = range(252, 260)  # raw ids of what moves, classes of their own in the track `multi`


@dataclass(frozen=True)
class Checked:
    """A submission that passed the checks.

    Attributes:
        scans: Number of scans inside.
        complete: Whether these are all scans of the benchmark's test sequences.
        track: A key of `TRACKS`.
        moving: Whether a point has the id of something that moves.
    """

    scans: int
    complete: bool
    track: str = "single"
    moving: bool = False

    def verdict(self, path: Path) -> str:
        """State whether it can be uploaded, and what would cost points in its track."""
        if self.track == "multi" and not self.moving:
            return f"{self._state(path)}; but no point has a moving id (252-259): six of the 25 classes would score 0"
        return self._state(path)

    def _state(self, path: Path) -> str:
        total = sum(TEST_SCANS.values())
        if self.complete:
            return f"{path}: valid and complete, {self.scans:,} scans of sequences 11-21: ready to upload"
        return (
            f"{path}: valid for the scans at hand, but NOT ready to upload: it holds {self.scans:,} of the {total:,} "
            "scans of sequences 11-21; download all test scans and predict them"
        )


def track_of(label_map: LabelMap) -> str:
    """Return the track that predicts the classes of a label map: `multi` where something that moves is a class."""
    return "multi" if np.isin(label_map.train_to_raw, _MOVING).any() else "single"


def validate(
    path: str | os.PathLike[str], root: str | os.PathLike[str] | None = None, track: str = "single"
) -> Checked:
    """Check a submission: every scan present, of the right length, only valid ids, nothing else inside.

    Args:
        path: The zip file, or the folder that holds `sequences`.
        root: As `data.root`; requires the scans of 11-21 under it and counts their points. None requires all 20,351
            scans of the benchmark and does not count points.
        track: `single`, or `multi` for the track of several scans with 25 classes.

    Raises:
        UserError: The first mistake found.
    """
    members = _open(Path(path))
    expected = _expected(root)
    _check_layout(members, expected)
    _check_names(members, expected)
    valid, moving = _valid_ids(track), False
    for name, points in expected.items():
        _check_size(members, name, points)
        labels = np.frombuffer(members.read(name), "<u4")
        _check_ids(members, name, labels, valid)
        moving = moving or bool(np.isin(labels, _MOVING).any())
    whole = {name for sequence, frames in TEST_SCANS.items() for name in _names(sequence, frames)}
    return Checked(len(expected), whole == expected.keys(), track, moving)


def _open(path: Path) -> Members:
    if path.is_dir():
        members: Members = FolderMembers(path)
    elif path.is_file():
        members = ZipMembers(path)
    else:
        raise UserError(f"{path}: no such file or folder; give a submission.zip, or the folder that holds `sequences`")
    if not members.sizes:
        raise UserError(f"{path}: holds no file; write the predictions first: python evaluate.py split=test ckpt=...")
    return members


def _names(sequence: str, frames: int) -> list[str]:
    return [f"sequences/{sequence}/predictions/{frame:06d}.label" for frame in range(frames)]


def _expected(root: str | os.PathLike[str] | None) -> dict[str, int | None]:
    """Number of points of each required label file; None if unknown."""
    if root is None:
        return {name: None for sequence, frames in TEST_SCANS.items() for name in _names(sequence, frames)}
    present = [sequence for sequence in find_sequences(root) if sequence in TEST_SCANS]
    if not present:
        raise UserError(f"data.root={root}: none of the test sequences 11-21 is there; leave data.root out, or fix it")
    scans = list_scans(root, present, "data.sequences.test", require_labels=False)
    return {
        "sequences/{}/predictions/{}.label".format(*scan.scan_id.split("/")): scan.scan.stat().st_size // 16
        for scan in scans
    }


def _check_layout(members: Members, expected: dict[str, int | None]) -> None:
    path = members.path
    if not any(name.startswith("sequences/") for name in members.sizes):
        wrapped = [name for name in members.sizes if "/sequences/" in f"/{name}"]
        if wrapped:
            outer = wrapped[0].split("/sequences/")[0]
            raise UserError(
                f"{path}: `sequences` lies inside {outer}/; it must be at the top: pack from within {outer}"
            )
        raise UserError(
            f"{path}: no folder `sequences` at the top; expected sequences/11/predictions/000000.label, ..."
        )
    for sequence in sorted({name.split("/")[1] for name in expected}):
        prefix = f"sequences/{sequence}/"
        inside = [name for name in members.sizes if name.startswith(prefix)]
        if not inside:
            raise UserError(f"{path}: sequence {sequence} is missing; expected {prefix}predictions/000000.label, ...")
        if not any(name.startswith(f"{prefix}predictions/") for name in inside):
            raise UserError(f"{path}: {inside[0]} is not in a folder `predictions`; expected {prefix}predictions/")
        for folder in ("sequences/", prefix, f"{prefix}predictions/"):
            if folder not in members.folders:
                raise UserError(
                    f"{path}: the zip has no entry for the folder {folder}, which the server looks for; "
                    "pack it with `zip -r` (without -D)"
                )


def _check_names(members: Members, expected: dict[str, int | None]) -> None:
    path = members.path
    for name in sorted(members.sizes.keys() - expected.keys() - {_DESCRIPTION}):
        number = re.fullmatch(r"sequences/(\d+)/predictions/(\d+)\.label", name)
        if number and number[1] not in TEST_SCANS:
            raise UserError(f"{path}: {name} is of sequence {number[1]}, which is no test sequence; leave it out")
        if number and len(number[2]) != 6:
            raise UserError(f"{path}: {name}: frames are named with six digits, as {int(number[2]):06d}.label")
        if number:
            raise UserError(f"{path}: {name} belongs to no scan; leave it out, or check that the frames are the scans'")
        raise UserError(f"{path}: {name} does not belong in a submission; only label files and {_DESCRIPTION} do")
    missing = sorted(expected.keys() - members.sizes.keys())
    if missing:
        raise UserError(
            f"{path}: {len(missing):,} of {len(expected):,} scans are missing, first {missing[0]}; predict them all"
        )


def _check_size(members: Members, name: str, points: int | None) -> None:
    size = members.sizes[name]
    if size == 0:
        raise UserError(f"{members.path}: {name} is empty; expected a label (uint32) per point: predict it again")
    if size % 4:
        raise UserError(f"{members.path}: {name} has {size} bytes, not a whole number of uint32 labels; write it again")
    if points is not None and size != 4 * points:
        raise UserError(
            f"{members.path}: {name} has {size // 4:,} labels, its scan {points:,} points; "
            "predict every point, also those dropped by a voxel grid or a cap"
        )


def _valid_ids(track: str) -> np.ndarray:
    """Mask over the 16-bit ids that a track counts as a class."""
    train = load_label_map(TRACKS[track]).raw_to_train
    return (train >= 0) & (train != IGNORE_INDEX)


def _check_ids(members: Members, name: str, labels: np.ndarray, valid: np.ndarray) -> None:
    if (labels >> 16).any():
        raise UserError(
            f"{members.path}: {name} has instance numbers in the upper 16 bits (or is no uint32 file); "
            "write the semantic id alone: labels & 0xFFFF"
        )
    if valid[labels].all():
        return
    wrong = np.unique(labels[~valid[labels]])
    if wrong.tolist() == [0]:
        count = int((labels == 0).sum())
        raise UserError(f"{members.path}: {name} leaves {count:,} points unlabelled (id 0); give each point a class")
    if labels.max() <= 25:  # 19 classes, 25 in the track of several scans
        raise UserError(
            f"{members.path}: {name} holds only ids up to {labels.max()}: these are train ids; map them to raw ids, "
            "as 1 -> 10 (car), 9 -> 40 (road)"
        )
    raise UserError(f"{members.path}: {name} holds ids that are no class: {wrong[:10].tolist()}; write raw ids")
