"""Readers of point clouds against what was written, byte by byte where the format is ours to write."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clusterseg.data.clouds import read_cloud
from clusterseg.data.clouds.pcd import decompress
from clusterseg.data.clouds.ply import ply_bytes
from clusterseg.errors import UserError

POINTS = np.random.default_rng(4).normal(0, 10, (300, 4)).astype(np.float32)
POINTS[:, 3] = np.random.default_rng(5).integers(0, 256, 300)


def slow_compress(data: bytes) -> bytes:
    """LZF by brute force: literals, and matches among the last 64 bytes, long and overlapping ones too."""
    out, at, literals = bytearray(), 0, bytearray()

    def flush() -> None:
        for i in range(0, len(literals), 32):
            piece = literals[i : i + 32]
            out.append(len(piece) - 1)
            out.extend(piece)
        literals.clear()

    while at < len(data):
        best_length, best_start = 0, 0
        for start in range(max(0, at - 64), at):
            length = 0
            while at + length < len(data) and length < 264 and data[start + length] == data[at + length]:
                length += 1
            if length > best_length:
                best_length, best_start = length, start
        if best_length < 3:
            literals.append(data[at])
            at += 1
            continue
        flush()
        distance, length = at - best_start - 1, best_length - 2
        out.append(min(length, 7) << 5 | distance >> 8)
        if length >= 7:
            out.append(length - 7)
        out.append(distance & 255)
        at += best_length
    flush()
    return bytes(out)


def framed(data: bytes) -> bytes:
    packed = slow_compress(data)
    return struct.pack("<II", len(packed), len(data)) + packed


@pytest.mark.parametrize("seed", range(5))
def test_decompression_undoes_a_slow_compression(seed: int) -> None:
    draw = random.Random(seed)
    data = b"".join(bytes([draw.randrange(4)]) * draw.randrange(1, 400) for _ in range(12)) + draw.randbytes(90)
    assert decompress(framed(data)) == data


def pcd_header(kind: str) -> bytes:
    return (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z pad intensity\nSIZE 4 4 4 1 4\nTYPE F F F U F\nCOUNT 1 1 1 2 1\n"
        f"WIDTH 300\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 300\nDATA {kind}\n"
    ).encode()


def pcd_ascii(path: Path) -> None:
    lines = "".join(f"{x!r} {y!r} {z!r} 7 8 {i!r}\n" for x, y, z, i in POINTS.tolist())
    path.write_bytes(pcd_header("ascii") + lines.encode())


def pcd_binary(path: Path) -> None:
    path.write_bytes(
        pcd_header("binary") + b"".join(struct.pack("<3f2Bf", *p[:3], 7, 8, p[3]) for p in POINTS.tolist())
    )


def pcd_compressed(path: Path) -> None:
    columns = [POINTS[:, i].tobytes() for i in range(3)] + [bytes([7, 8]) * 300, POINTS[:, 3].tobytes()]
    path.write_bytes(pcd_header("binary_compressed") + framed(b"".join(columns)))


def ply(path: Path, order: str) -> None:
    head = f"ply\nformat {order} 1.0\ncomment hello\nelement vertex 300\nproperty double x\nproperty float y\n"
    head += "property float z\nproperty uchar intensity\nelement face 1\nproperty list uchar int vertex_indices\n"
    if order == "ascii":
        body = "".join(f"{x!r} {y!r} {z!r} {int(i)}\n" for x, y, z, i in POINTS.tolist()).encode() + b"3 0 1 2\n"
    else:
        sign = "<" if "little" in order else ">"
        body = b"".join(struct.pack(f"{sign}dffB", *p[:3], int(p[3])) for p in POINTS.tolist()) + b"\3" + bytes(12)
    path.write_bytes(head.encode() + b"end_header\n" + body)


def las(path: Path) -> None:
    laspy = pytest.importorskip("laspy", reason="laspy is not installed: the extra clusterseg[las]")
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales = [1e-4] * 3
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = POINTS[:, :3].astype(np.float64).T
    cloud.intensity = POINTS[:, 3].astype(np.uint16)
    cloud.write(path)


def structured(path: Path) -> None:
    array = np.empty(300, [("X", "f4"), ("Y", "f4"), ("Z", "f8"), ("Intensity", "u1")])
    for name, column in zip(array.dtype.names or (), POINTS.T, strict=True):
        array[name] = column
    np.save(path, array)


FORMATS: dict[str, Callable[[Path], object]] = {
    "a.bin": lambda path: POINTS.tofile(path),
    "a.npy": lambda path: np.save(path, POINTS),
    "double.npy": lambda path: np.save(path, POINTS.astype(np.float64)),
    "structured.npy": structured,
    "ascii.pcd": pcd_ascii,
    "binary.pcd": pcd_binary,
    "compressed.pcd": pcd_compressed,
    "ascii.ply": lambda path: ply(path, "ascii"),
    "little.ply": lambda path: ply(path, "binary_little_endian"),
    "big.ply": lambda path: ply(path, "binary_big_endian"),
    "a.las": las,
    "a.laz": las,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_points(name: str, tmp_path: Path) -> None:
    FORMATS[name](tmp_path / name)
    cloud = read_cloud(tmp_path / name)
    tolerance = 1e-4 if name.endswith(("las", "laz")) else 0
    np.testing.assert_allclose(
        cloud.points(255, offset=np.zeros(3)), POINTS / np.float32([1, 1, 1, 255]), rtol=1e-7, atol=tolerance
    )


@pytest.mark.parametrize("name", [name for name in FORMATS if not name.startswith("ascii.ply")])
def test_cut_short(name: str, tmp_path: Path) -> None:
    FORMATS[name](tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2 + 1])
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        read_cloud(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xyz", b"1 2 3", "cannot read .xyz"),
        ("a.pcd", b"nothing", "is no .pcd file"),
        ("a.pcd", pcd_header("zipped"), "DATA zipped"),
        ("a.pcd", pcd_header("ascii").replace(b"x y z", b"a b c"), "no field|cut short"),
        ("a.ply", b"nothing", "is no .ply file"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 0\nend_header\n", "no field x, y, z"),
        ("a.las", b"nothing", "cannot be read"),
        ("a.bin", b"", "empty"),
        ("a.bin", bytes([0, 5, 22, 7]).ljust(4096, b"\0"), "a file of macOS"),
        ("a.ply", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
        ("a.pcd", b"\x1f\x8b\x08\x00", "gunzip"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    if name.endswith("las"):
        pytest.importorskip("laspy", reason="laspy is not installed: the extra clusterseg[las]")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_cloud(tmp_path / name)


def test_pickled_arrays_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="plain numpy array"):
        read_cloud(tmp_path / "evil.npy")


def test_without_remission_it_is_zero(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", POINTS[:, :3])
    cloud = read_cloud(tmp_path / "a.npy")
    assert cloud.remission is None
    assert (cloud.points(1)[:, 3] == 0).all()


def test_map_coordinates_come_near_the_sensor_without_losing_precision(tmp_path: Path) -> None:
    far = POINTS[:, :3].astype(np.float64) + np.array([500_000, 5_400_000, 300])
    np.save(tmp_path / "a.npy", far)
    cloud = read_cloud(tmp_path / "a.npy")
    points = cloud.points(1)
    assert np.abs(np.median(points[:, :2], axis=0)).max() < 1e-3
    assert np.percentile(points[:, 2], 5) == pytest.approx(-1.73, abs=1e-4)
    np.testing.assert_allclose(np.diff(points[:, :3], axis=0), np.diff(POINTS[:, :3], axis=0), atol=2e-5)


def test_coloured_ply_reads_back(tmp_path: Path) -> None:
    far = POINTS[:, :3].astype(np.float64) + np.array([500_000, 5_400_000, 300])
    (tmp_path / "a.ply").write_bytes(ply_bytes(far, np.arange(900).reshape(300, 3).astype(np.uint8)))
    np.testing.assert_array_equal(read_cloud(tmp_path / "a.ply").xyz, far)
