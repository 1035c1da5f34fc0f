"""PyTorch's idle threads: let them give up their processors soon, for the parts in C and the loaders use them too."""

from __future__ import annotations

import os
import sys

#: Turns of the loop in which a thread of GNU OpenMP, which PyTorch has on Linux, waits for work before it sleeps.
SPINS = ("GOMP_SPINCOUNT", "5000")
#: Whoever sets one of these has decided.
DECIDED = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def sleep_when_idle() -> bool:
    """Let PyTorch's threads sleep soon after their last work, in this process and those that it starts.

    By default they wait for milliseconds with their processor busy. A convolution in C begins right after an operation
    of PyTorch and has threads of its own; on two processors they got little more than one. A training step of the small
    network takes 0.8 times as long with this (see docs/engine.md). Call it before PyTorch is imported.

    Returns:
        Whether it was set: not where PyTorch is there already, nor where the environment sets it.

    Examples:
        >>> from clusterseg.commands.idle_threads import sleep_when_idle
        >>> import torch
        >>> sleep_when_idle()
        False
    """
    if "torch" in sys.modules or any(name in os.environ for name in DECIDED):
        return False
    name, turns = SPINS
    os.environ[name] = turns
    return True
