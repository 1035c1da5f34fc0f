"""scipy.signal is imported when something of it is used, and then as ever."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from importlib.util import find_spec
from clusterseg.commands.lean_start import leave_out_scipy_signal
print(leave_out_scipy_signal(), leave_out_scipy_signal())
import scipy.signal
given = scipy.signal
print(hasattr(given, "hamming"), hasattr(given, "__file__"), find_spec("scipy.signal").name)
print("scipy.signal._signaltools" in sys.modules)
{use}
print("scipy.signal._signaltools" in sys.modules, sys.modules["scipy.signal"] is given)
import scipy.signal
print(scipy.signal.convolve([1, 2], [1, 1]).tolist(), scipy.signal.windows.hann(3).tolist(), scipy.signal is given)
"""


@pytest.mark.parametrize(
    "use",
    [
        "from scipy.signal import convolve",
        pytest.param("import scipy.signal.windows", marks=pytest.mark.slow),
        pytest.param("from scipy import signal; signal.convolve", marks=pytest.mark.slow),
        pytest.param("given.convolve", marks=pytest.mark.slow),
    ],
)
def test_it_comes_when_it_is_used(use: str) -> None:
    pytest.importorskip("scipy")
    command = [sys.executable, "-c", PROGRAM.format(use=use)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[:3] == ["True False", "True False scipy.signal", "False"]
    assert said[3:] == ["True False", "[1, 3, 2] [0.0, 1.0, 0.0] False"]
