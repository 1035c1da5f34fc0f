"""PyTorch's idle threads give up their processors soon, where nobody has decided otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from clusterseg.commands.front_door import main
from clusterseg.commands.idle_threads import sleep_when_idle
assert "torch" not in sys.modules, "the command is set up before PyTorch is imported"
print(sleep_when_idle(), os.environ.get("GOMP_SPINCOUNT"))
"""


@pytest.mark.parametrize(
    ("given", "said"),
    [({}, "True 5000"), ({"GOMP_SPINCOUNT": "7"}, "False 7"), ({"OMP_WAIT_POLICY": "active"}, "False None")],
)
def test_it_is_set_unless_someone_has_decided(given: dict[str, str], said: str) -> None:
    environ = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    command = [sys.executable, "-c", PROGRAM]
    assert subprocess.run(command, capture_output=True, text=True, env=environ | given).stdout.strip() == said
