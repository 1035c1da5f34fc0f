"""Freed memory is kept: the pages of a second block are there already; the largest blocks go back."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from clusterseg.commands.allocator import DECIDED, LARGE

PROGRAM = """
import json, resource, sys
from clusterseg.commands.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
size = int(sys.argv[2])
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(b"x") * size
    after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return after - before
faults()
print(json.dumps([kept, faults()]))
"""


def second_block(way: str, size: int = LARGE // 2, **environment: str) -> tuple[bool, int]:
    """Whether freed memory is kept, and page faults of a second block of so many bytes."""
    around = {name: value for name, value in os.environ.items() if name not in DECIDED} | environment
    command = [sys.executable, "-c", PROGRAM, way, str(size)]
    done = subprocess.run(command, env=around, capture_output=True, text=True, check=True)
    kept, faults = json.loads(done.stdout)
    return kept, faults


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is Linux's")
def test_a_freed_block_is_used_again() -> None:
    kept, faults = second_block("keep")
    if not kept:
        pytest.skip("this C library has no mallopt")
    assert faults < 16
    assert second_block("leave")[1] >= 16  # the test could fail: by default the block is mapped anew
    assert second_block("keep", 2 * LARGE)[1] >= 16


def test_who_sets_the_allocator_has_decided() -> None:
    assert not second_block("keep", MALLOC_MMAP_MAX_="65536")[0]
