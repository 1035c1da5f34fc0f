"""What mmengine writes beside the weights: read past, and never called."""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from small_network import network

from clusterseg.backbone.foreign.inert import Inert
from clusterseg.backbone.pretrained import load_pretrained
from clusterseg.errors import UserError

MODULE = "mmengine.logging.history_buffer"


class HistoryBuffer:
    """As that of mmengine is pickled: arrays, and its own methods by name."""

    def __init__(self) -> None:
        self._log_history = np.array([0.5, 0.25])
        self._count_history = np.array([1, 1])
        self.statistics_methods = {"min": HistoryBuffer.minimum}

    def minimum(self) -> float:
        return float(self._log_history.min())

    def __setstate__(self, state: Any) -> None:
        raise AssertionError("code that the file names was called")


@pytest.fixture
def mmengine(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType(MODULE)
    module.HistoryBuffer = HistoryBuffer
    monkeypatch.setattr(HistoryBuffer, "__module__", MODULE)
    monkeypatch.setattr(HistoryBuffer.minimum, "__module__", MODULE)
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, MODULE, module)


def content(**more: Any) -> dict[str, Any]:
    hub = {"log_scalars": OrderedDict(loss=HistoryBuffer()), "runtime_info": OrderedDict(iter=3, lr=np.float64(0.1))}
    return {"state_dict": network().state_dict(), "message_hub": hub, "meta": {"epoch": 3}} | more


@pytest.mark.usefixtures("mmengine")
def test_weights_beside_bookkeeping_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(content(), tmp_path / "file")
    monkeypatch.delitem(sys.modules, MODULE)
    net = network()
    assert load_pretrained(tmp_path / "file", net).missing == ()
    with pytest.raises(Exception, match=r"history_buffer|Unsupported|mmengine"):
        torch.load(tmp_path / "file", weights_only=True)  # elsewhere nothing has become safe


class Called:
    """Unpickled it is `OrderedDict.fromkeys("ab")`, the method found by `getattr`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Found(), ("ab",)


class Found:
    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (OrderedDict, "fromkeys")

    def __call__(self, keys: str) -> None: ...


def test_what_getattr_finds_is_not_called(tmp_path: Path) -> None:
    torch.save(content(message_hub=Called()), tmp_path / "file")
    whole = torch.load(tmp_path / "file", weights_only=False)
    assert whole["message_hub"] == OrderedDict(a=None, b=None), "the file does call it"
    with pytest.raises(UserError, match="can run code"):
        load_pretrained(tmp_path / "file", network())


def test_inert_keeps_nothing() -> None:
    made = Inert(1, "two")
    made.__setstate__({"three": 3})
    assert vars(made) == {}
