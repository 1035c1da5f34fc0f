"""What ranks ask of each other and of the process that has started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

CHILD = """
from clusterseg.distributed import end_with_parent
import time
end_with_parent()
print("ready", flush=True)
time.sleep(300)
"""
PARENT = f"""
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], env={{**os.environ, "LOCAL_RANK": sys.argv[1]}})
print(child.pid, flush=True)
time.sleep(300)
"""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_rank_ends_with_the_process_that_started_it() -> None:
    parents = [
        subprocess.Popen([sys.executable, "-c", PARENT, rank], stdout=subprocess.PIPE, text=True) for rank in "01"
    ]
    children = [int(parent.stdout.readline()) for parent in parents if parent.stdout]
    try:
        assert all(parent.stdout.readline() == "ready\n" for parent in parents if parent.stdout)
        assert all(map(alive, children))
        for parent in parents:
            parent.kill()
            parent.wait()
        deadline = time.monotonic() + 30
        while alive(children[1]) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not alive(children[1])
        assert alive(children[0]), "one that is rank 0 itself is not told to end"
    finally:
        for child in filter(alive, children):
            os.kill(child, signal.SIGKILL)
        for parent in parents:
            parent.communicate()
