"""Clouds that could not be predicted, with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_SHOWN = 50


@dataclass(frozen=True)
class LeftOut:
    """A skipped cloud, which replaces its batch.

    Attributes:
        path: Its file.
        reason: The problem and its remedy.
    """

    path: str
    reason: str

    def to(self, *_: Any, **__: Any) -> LeftOut:
        """Return itself: Lightning moves batches to their device."""
        return self

    def __str__(self) -> str:
        return self.reason if self.reason.startswith(self.path) else f"{self.path}: {self.reason}"


def report(left_out: Sequence[LeftOut], total: int) -> str:
    """Format the skipped clouds of `total`, one line each."""
    if total == 1:
        return str(left_out[0])
    lines = [f"  {entry}" for entry in sorted(left_out, key=lambda entry: entry.path)[:_SHOWN]]
    if len(left_out) > _SHOWN:
        lines.append(f"  and {len(left_out) - _SHOWN} more")
    rest = "the others are predicted" if len(left_out) < total else "none is predicted"
    remedy = "mend or remove these; the same command then predicts only what is missing"
    return "\n".join([f"{len(left_out)} of {total} clouds are left out, {rest}; {remedy}:", *lines])
