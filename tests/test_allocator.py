"""Freed memory is kept: the pages of a second large block are there already."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from clusterseg.commands.allocator import DECIDED

MEGABYTES = 64
PROGRAM = f"""
import json, resource, sys
from clusterseg.commands.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else False
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(b"x") * ({MEGABYTES} << 20)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return after - before
faults()
print(json.dumps([kept, faults()]))
"""


def second_block(way: str, **environment: str) -> tuple[bool, int]:
    around = {name: value for name, value in os.environ.items() if name not in DECIDED} | environment
    done = subprocess.run([sys.executable, "-c", PROGRAM, way], env=around, capture_output=True, text=True, check=True)
    kept, faults = json.loads(done.stdout)
    return kept, faults


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is Linux's")
def test_a_freed_block_is_used_again() -> None:
    kept, faults = second_block("keep")
    if not kept:
        pytest.skip("this C library has no mallopt")
    assert faults < 16
    assert second_block("leave")[1] >= 16  # the test could fail: by default the block is mapped anew


def test_who_sets_the_allocator_has_decided() -> None:
    assert not second_block("keep", MALLOC_MMAP_MAX_="65536")[0]
