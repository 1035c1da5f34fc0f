"""Leave out of a command's start what is imported for nothing: scipy.signal, where scipy is installed."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

SIGNAL = "scipy.signal"


class _OnDemand(ModuleType):
    """Stands for a module, and imports it when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)  # asked by those who look through all modules
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def leave_out_scipy_signal() -> bool:
    """Import scipy.signal only when something of it is used, in this process.

    torchmetrics, which Lightning imports, imports it to give it the old name `hamming`, which nothing here uses: a
    fifth of the seconds that a command takes to start. Call it before Lightning is imported.

    Returns:
        Whether it is left out: not without scipy, nor where it was imported before.

    Examples:
        >>> from clusterseg.commands.lean_start import leave_out_scipy_signal
        >>> left_out = leave_out_scipy_signal()
    """
    if SIGNAL in sys.modules or find_spec("scipy") is None:
        return False
    spec = find_spec(SIGNAL)
    later = _OnDemand(SIGNAL)
    later.__spec__ = spec
    later.hamming = None  # type: ignore[attr-defined]
    sys.modules[SIGNAL] = later
    sys.modules["scipy"].signal = later  # type: ignore[attr-defined]
    return True
