"""Files of every kind of point cloud, valid ones and ones broken at random; for the fuzz test and its long run."""

from __future__ import annotations

import io
import random
import re
import struct

import numpy as np

NUMBERS = [
    *(b"0 1 -1 3 255 65536 2147483648 4294967295 99999999999999999999 1e9 1.5 nan inf -0 1e400 0x10 1_0".split()),
    *(b"many 1,2 \xff \xc2\xb2".split()),
    b"",
]
WORDS = [
    *(b"x y z _ intensity DATA FIELDS list uchar float vertex element property comment end_header # ply".split()),
    *(b"data ascii", b"format ascii 1.0", b"\r", b"\n", b"\0"),
]


def valid(draw: random.Random) -> tuple[str, bytes]:
    """An ending and the content of a small valid file."""
    makers = {".bin": _bin, ".npy": _npy, ".pcd": _pcd, ".ply": _ply, ".las": _las, ".laz": _las}
    suffix = draw.choice(sorted(makers))
    return suffix, makers[suffix](draw)


def broken(draw: random.Random) -> tuple[str, bytes]:
    """An ending and the content of a file with one to four random faults, most of them in its header."""
    suffix, content = valid(draw)
    for _ in range(draw.randint(1, 4)):
        content = draw.choice((_number, _number, _word, _line, _bytes, _bytes, _cut, _longer))(draw, content)
    return suffix, content


def _points(draw: random.Random) -> np.ndarray:
    generator = np.random.default_rng(draw.randint(0, 9))
    return generator.normal(0, 9, (draw.randint(0, 40), 4)).astype("<f4")


def _bin(draw: random.Random) -> bytes:
    return _points(draw).tobytes()


def _npy(draw: random.Random) -> bytes:
    file = io.BytesIO()
    points = _points(draw)
    kinds = {"f4": points, "f8": points.astype("f8"), "i2": points.astype("i2"), "named": points.view("f4,f4,f4,f4")}
    array = kinds[draw.choice(sorted(kinds))]
    if array.dtype.names:
        array.dtype.names = ("x", "y", "z", "i")
    np.lib.format.write_array(file, array, version=draw.choice(((1, 0), (2, 0), (3, 0))))
    return file.getvalue()


def _pcd(draw: random.Random) -> bytes:
    points = _points(draw)
    data = draw.choice(("ascii", "binary", "binary_compressed"))
    counts = draw.choice(("1 1 1 1", "1 1 1 1", "1 1 2 0"))
    header = (
        f"# .PCD v.7\nVERSION .7\nFIELDS x y z intensity\nSIZE 4 4 4 4\nTYPE F F F F\nCOUNT {counts}\n"
        f"WIDTH {len(points)}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {len(points)}\nDATA {data}\n"
    )
    body = points.tobytes()
    if data == "ascii":
        body = _text(points)
    elif data == "binary_compressed":
        whole = points.T.tobytes()
        packed = b"".join(bytes([len(whole[i : i + 32]) - 1]) + whole[i : i + 32] for i in range(0, len(whole), 32))
        body = struct.pack("<II", len(packed), len(whole)) + packed
    return header.encode() + body


def _ply(draw: random.Random) -> bytes:
    points = _points(draw)
    order = draw.choice(("ascii", "binary_little_endian", "binary_big_endian"))
    lists = draw.random() < 0.5
    before = draw.random() < 0.3
    header = f"ply\nformat {order} 1.0\ncomment end_header is below\n"
    header += "element camera 1\nproperty list uchar short views\nproperty uchar id\n" if before else ""
    header += f"element vertex {len(points)}\n" + "".join(f"property float {name}\n" for name in "xyzi")
    header += "property list uchar short seen\n" if lists else ""
    header += "end_header\n"
    sign = ">" if "big" in order else "<"
    lengths = [draw.randint(0, 3) if draw.random() < 0.5 else 2 for _ in points]
    if order == "ascii":
        rows = [
            " ".join(map(repr, row)) + (f" {n}" + " 7" * n if lists else "")
            for row, n in zip(points.tolist(), lengths, strict=True)
        ]
        body = ("2 5 6 1\n" if before else "") + "\n".join(rows)
        return (header + body + "\n").encode()
    rows = [struct.pack(f"{sign}4f", *p) + (struct.pack(f"{sign}B{n}h", n, *[7] * n) if lists else b"")
            for p, n in zip(points.tolist(), lengths, strict=True)]  # fmt: skip
    return header.encode() + (struct.pack(f"{sign}B2hB", 2, 5, 6, 1) if before else b"") + b"".join(rows)


def _las(draw: random.Random) -> bytes:
    try:
        import laspy
    except ImportError:
        return b"LASF" + draw.randbytes(400)
    header = laspy.LasHeader(point_format=draw.choice((0, 3, 6)), version="1.4")
    if draw.random() < 0.3:
        header.add_extra_dim(laspy.ExtraBytesParams("odd", "u2"))
    cloud = laspy.LasData(header)
    points = _points(draw).astype("f8")
    cloud.x, cloud.y, cloud.z = points[:, 0], points[:, 1], points[:, 2]
    file = io.BytesIO()
    cloud.write(file, do_compress=draw.random() < 0.1)  # slow: unpacked in a process
    return file.getvalue()


def _text(points: np.ndarray) -> bytes:
    return "".join(" ".join(map(repr, row)) + "\n" for row in points.tolist()).encode()


def _number(draw: random.Random, content: bytes) -> bytes:
    """Another number in the place of one of the first."""
    found = list(re.finditer(rb"[0-9.]+", content[:600]))
    if not found:
        return content
    place = draw.choice(found)
    return content[: place.start()] + draw.choice(NUMBERS) + content[place.end() :]


def _word(draw: random.Random, content: bytes) -> bytes:
    """Another word in the place of one of the first."""
    found = list(re.finditer(rb"[A-Za-z_]+", content[:600]))
    if not found:
        return content
    place = draw.choice(found)
    return content[: place.start()] + draw.choice(WORDS) + content[place.end() :]


def _line(draw: random.Random, content: bytes) -> bytes:
    """A line less, twice, or at another place."""
    lines = content.split(b"\n")
    i, j = draw.randrange(min(len(lines), 20)), draw.randrange(min(len(lines), 20))
    line = lines.pop(i)
    return b"\n".join(lines[:j] + [line] * draw.randint(0, 2) + lines[j:])


def _bytes(draw: random.Random, content: bytes) -> bytes:
    """Up to eight other bytes, mostly near the beginning."""
    if not content:
        return content
    at = draw.randrange(min(len(content), draw.choice((400, len(content)))))
    new = draw.choice((draw.randbytes(draw.randint(1, 8)), b"\xff" * draw.randint(1, 8), bytes(draw.randint(1, 8))))
    return content[:at] + new + content[at + len(new) :]


def _cut(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _longer(draw: random.Random, content: bytes) -> bytes:
    return content + draw.choice((draw.randbytes(50), b"1 " * 40, bytes(64)))
