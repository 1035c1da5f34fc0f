"""Whatever a file holds, its reader gives points or one message, soon and in little memory."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odd_clouds import broken, valid

from clusterseg.data.clouds import read_cloud
from clusterseg.errors import UserError

SECONDS, BYTES = 10.0, 300 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    tracemalloc.start()
    yield tmp_path_factory.mktemp("fuzz")
    tracemalloc.stop()


def read(path: Path, content: bytes) -> int | None:
    """Number of points, or None where the file is refused."""
    path.write_bytes(content)
    tracemalloc.reset_peak()
    start = time.perf_counter()
    try:
        cloud = read_cloud(path)
        assert cloud.points(1.0, offset=np.zeros(3)).shape == (len(cloud.xyz), 4)
        return len(cloud.xyz)
    except UserError as error:
        assert str(path) in str(error), "the file is named"
        return None
    finally:
        assert time.perf_counter() - start < SECONDS
        assert tracemalloc.get_traced_memory()[1] < BYTES


def fuzz(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@fuzz(400)
@given(st.randoms(use_true_random=True))
def test_broken_files(folder: Path, draw: random.Random) -> None:
    suffix, content = broken(draw)
    read(folder / f"a{suffix}", content)


@fuzz(250)
@given(st.sampled_from((".bin", ".npy", ".pcd", ".ply", ".las", ".laz")), st.binary(max_size=600))
def test_any_bytes(folder: Path, suffix: str, content: bytes) -> None:
    magic = {".npy": b"\x93NUMPY\1\0", ".pcd": b"VERSION .7\nFIELDS x y z\n", ".ply": b"ply\n", ".bin": b""}
    read(folder / f"a{suffix}", magic.get(suffix, b"LASF") + content)


@pytest.mark.parametrize("seed", range(60))
def test_valid_files_are_read(folder: Path, seed: int) -> None:
    suffix, content = valid(random.Random(seed))
    points = read(folder / f"a{suffix}", content)
    assert points is None or points > 0
