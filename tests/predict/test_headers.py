"""Odd but well-formed headers are read; broken ones are refused in words that name the file."""

from __future__ import annotations

import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from clusterseg.data.clouds import read_cloud
from clusterseg.data.clouds.lzf import decompress
from clusterseg.errors import UserError
from clusterseg.predict.cloud_data import CloudDataset

POINTS = np.random.default_rng(4).normal(0, 5, (40, 4)).astype("<f4")
TEXT = "".join(" ".join(map(repr, row)) + "\n" for row in POINTS.tolist())
PCD = (
    "VERSION 0.7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT 1 1 1 1\nWIDTH 40\nHEIGHT 1\n"
    "VIEWPOINT 0 0 0 1 0 0 0\nPOINTS 40\nDATA ascii\n"
)
PLY = "ply\nformat ascii 1.0\nelement vertex 40\n" + "".join(f"property float {n}\n" for n in "xyzi") + "end_header\n"


def read(path: Path, content: str | bytes) -> np.ndarray:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_cloud(path).points(1, offset=np.zeros(3))


PCDS = {
    "windows": (PCD + TEXT).replace("\n", "\r\n"),
    "version .7": PCD.replace("0.7", ".7") + TEXT,
    "columns": PCD.replace("FIELDS", "COLUMNS").replace("COUNT 1 1 1 1\n", "") + TEXT,
    "width alone": PCD.replace("POINTS 40\n", "").replace("WIDTH 40\nHEIGHT 1", "WIDTH 40") + TEXT,
    "organised": PCD.replace("POINTS 40\n", "").replace("WIDTH 40\nHEIGHT 1", "WIDTH 8\nHEIGHT 5") + TEXT,
    "small letters": PCD.replace("FIELDS", "fields").replace("DATA ascii", "data ASCII") + TEXT,
    "tabs and blank lines": "# hello\n\n" + PCD.replace(" ", "\t") + TEXT.replace("\n", "\n\n"),
    "one line": PCD + TEXT.replace("\n", " "),
    "count 0": PCD.replace("FIELDS x y z intensity", "FIELDS x y z _ intensity _")
    .replace("SIZE 4 4 4 4", "SIZE 4 4 4 1 4 1")
    .replace("TYPE F F F F", "TYPE F F F U F U")
    .replace("COUNT 1 1 1 1", "COUNT 1 1 1 0 1 0")
    + TEXT,
}  # fmt: skip


@pytest.mark.parametrize("name", PCDS)
def test_odd_pcd(tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(read(tmp_path / "a.pcd", PCDS[name]), POINTS)


def binary_ply(lengths: list[int], before: int = 0) -> bytes:
    header = PLY.replace("ascii", "binary_big_endian").replace(
        "end_header", "property list uchar short seen\nend_header"
    )
    camera = f"element camera {before}\nproperty list ushort float views\nproperty uchar id\n"
    header = header.replace("element vertex", camera + "element vertex")
    rows = (struct.pack(f">4fB{n}h", *p, n, *range(n)) for p, n in zip(POINTS.tolist(), lengths, strict=True))
    cameras = (struct.pack(f">H{n}fB", n, *range(n), 7) for n in range(before))
    return header.encode() + b"".join(cameras) + b"".join(rows)


PLYS: dict[str, str | bytes] = {
    "windows": (PLY + TEXT).replace("\n", "\r\n"),
    "old mac": (PLY + TEXT).replace("\n", "\r"),
    "comments": PLY.replace("element", "comment end_header\nobj_info made by end_header\nelement", 1) + TEXT,
    "one line": PLY + TEXT.replace("\n", " "),
    "rubbish behind": PLY + TEXT + "and so on",
    "lists of one length": binary_ply([2] * 40),
    "lists of many lengths": binary_ply([i % 5 for i in range(40)]),
    "cameras before": binary_ply([2] * 40, before=5),
    "lists as text": PLY.replace("end_header", "property list uchar int seen\nend_header")
    + "".join(f"{line} {i % 3}{' 7' * (i % 3)}\n" for i, line in enumerate(TEXT.splitlines())),
    "faces before": PLY.replace("element vertex", "element face 2\nproperty list uchar int v\nelement vertex")
    + "3 0 1 2\n4 0 1 2 3\n" + TEXT,
    "empty element before": PLY.replace("element vertex", "element nothing 999999999999999\nelement vertex") + TEXT,
}  # fmt: skip


@pytest.mark.parametrize("name", PLYS)
def test_odd_ply(tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(read(tmp_path / "a.ply", PLYS[name]), POINTS)


@pytest.mark.parametrize("suffix", ["pcd", "ply"])
def test_values_that_are_not_finite(tmp_path: Path, suffix: str) -> None:
    words = TEXT.split()
    words[:5] = ["nan", "-inf", "NaN", "INF", "+nan"]
    points = read(tmp_path / f"a.{suffix}", (PCD if suffix == "pcd" else PLY) + " ".join(words))
    expected = POINTS.ravel().copy()
    expected[:5] = [np.nan, -np.inf, np.nan, np.inf, np.nan]
    np.testing.assert_array_equal(points.ravel(), expected)


PCD_FAULTS = [
    ("POINTS 40", "POINTS many"),
    ("POINTS 40", "POINTS -40"),
    ("POINTS 40", "POINTS 999999999999999"),
    ("POINTS 40", "POINTS"),
    ("SIZE 4 4", "SIZE 4 3"),
    ("TYPE F", "TYPE X"),
    ("COUNT 1", "COUNT -1"),
    ("COUNT 1 1", "COUNT 1 999999999999"),
    ("COUNT 1 1 ", "COUNT 1 "),
    ("COUNT 1 1 1 1", "COUNT 0 0 0 0"),
    ("DATA ascii", "DATA"),
    ("DATA ascii", "DATA binary_compressed"),
    ("x y z", "x y"),
]
PLY_FAULTS = [
    ("vertex 40", "vertex many"),
    ("vertex 40", "vertex"),
    ("vertex 40", "vertex -4"),
    ("vertex 40", "vertex 0"),
    ("vertex 40", "vertex 999999999999999"),
    ("element vertex 40", "element"),
    ("element vertex 40", "stray words"),
    ("element vertex 40\n", ""),
    ("property float x", "property float"),
    ("property float x", "property x"),
    ("property float x", "property quadruple x"),
    ("property float x", "property list uchar x"),
    ("property float x", "property list float int x"),
    ("ascii 1.0", ""),
    ("format ascii 1.0\n", ""),
    ("end_header", "endheader"),
]
BROKEN: list[tuple[str, str | bytes]] = [
    *(("a.pcd", PCD.replace(old, new) + TEXT) for old, new in PCD_FAULTS),
    ("a.pcd", PCD + TEXT.replace(" ", ",")),
    *(("a.pcd", PCD.replace("40", "0").replace("ascii", kind)) for kind in ("ascii", "binary", "binary_compressed")),
    *(("a.ply", PLY.replace(old, new) + TEXT) for old, new in PLY_FAULTS),
    ("a.ply", PLY.replace("ascii", "binary_little_endian") + TEXT[:100]),
    ("a.ply", PLY.replace("end_header", "property list char int seen\nend_header") + TEXT.replace("\n", " -1\n")),
    ("a.ply", binary_ply([2] * 40)[:-1]),
    ("a.ply", binary_ply([i % 5 for i in range(40)])[:-1]),
]


@pytest.mark.parametrize("case", range(len(BROKEN)))
def test_broken_headers_are_refused_in_words(tmp_path: Path, case: int) -> None:
    name, content = BROKEN[case]
    with pytest.raises(UserError, match=r"a\.(pcd|ply): \w+"):
        read(tmp_path / name, content)


@pytest.mark.parametrize("name", ["a.pcd", "a.ply", "a.npy", "a.las"])
def test_no_memory_by_the_headers_word_alone(tmp_path: Path, name: str) -> None:
    array = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999, 4)}".ljust(117) + b"\n"
    sizes = struct.pack("<HIIBHI", 227, 227, 0, 0, 20, 2**32 - 1)
    contents = {
        "a.pcd": PCD.replace("POINTS 40", "POINTS 9999999999").replace("ascii", "binary").encode(),
        "a.ply": PLY.replace("vertex 40", "vertex 9999999999").replace("ascii", "binary_big_endian").encode(),
        "a.npy": b"\x93NUMPY\1\0" + struct.pack("<H", 118) + array,
        "a.las": b"LASF" + bytes(20) + b"\1\2" + bytes(68) + sizes,
    }
    if name == "a.las":
        pytest.importorskip("laspy", reason="laspy is not installed: the extra clusterseg[las]")
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        read(tmp_path / name, contents[name] + bytes(640))
    assert time.perf_counter() - start < 5 and tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_decompression_stops_at_the_declared_size() -> None:
    bomb = b"\0\0" + bytes([7 << 5, 255, 0]) * 1_000_000
    tracemalloc.start()
    with pytest.raises(UserError, match="cut short or damaged"):
        decompress(struct.pack("<II", len(bomb), 1000) + bomb)
    with pytest.raises(UserError, match="declare 1000 bytes, expected 640"):
        decompress(struct.pack("<II", len(bomb), 1000) + bomb, 640)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_fields_by_name_reach_the_sample(tmp_path: Path) -> None:
    head = PCD.replace("z intensity", "z Ring intensity").replace("SIZE 4", "SIZE 4 4").replace("TYPE F", "TYPE F F")
    rows = np.c_[POINTS[:, :3], np.arange(40), POINTS[:, 3]]
    text = "".join(" ".join(map(repr, row)) + "\n" for row in rows.tolist())
    (tmp_path / "a.pcd").write_text(head.replace("COUNT 1", "COUNT 1 1") + text)
    features = ("x", "y", "z", "ring", "remission")
    sample = CloudDataset([tmp_path / "a.pcd"], 0.05, 2, features, origin="sensor")[0, 0]
    assert sample.points is not None
    np.testing.assert_allclose(sample.points, np.c_[rows[:, :4], POINTS[:, 3] / 2].astype("f4"), rtol=1e-6)
    assert sample.feats.shape == (40, 5)
