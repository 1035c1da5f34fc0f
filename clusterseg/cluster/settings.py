"""Checks of the head's settings: what cannot be meant is told before training, by its config key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from clusterseg.errors import UserError

TAPS = ("bottleneck", "decoder")


def clusters_by_class(class_names: Sequence[str], spec: int | Mapping[str, int]) -> list[int]:
    """Number of clusters of each class, in class order.

    Args:
        class_names: the names of the data's classes.
        spec: one number for all, or numbers by class name, with `default` for the classes not named.

    Raises:
        UserError: an unknown name, a class left without a number, or a number below 1.
    """
    by_name = dict(spec) if isinstance(spec, Mapping) else {"default": spec}
    default = by_name.pop("default", None)
    unknown = sorted(set(by_name) - set(class_names))
    if unknown:
        raise _error("clusters_per_class", f"class names {unknown}", f"names among {list(class_names)}")
    missing = sorted(set(class_names) - set(by_name))
    if missing and default is None:
        raise _error("clusters_per_class", f"no number for {missing}", "a number for each class, or a `default`")
    counts: list[Any] = [by_name.get(name, default) for name in class_names]
    for count in counts:
        require_int("clusters_per_class", count, 1)
    return counts


def require_int(key: str, value: Any, low: int, high: float = math.inf) -> None:
    """Raise a UserError unless `value` is an integer in [low, high]."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _error(key, repr(value), f"an integer {_range(low, high)}")


def require_number(key: str, value: Any, low: float, high: float = math.inf) -> None:
    """Raise a UserError unless `value` is a finite number in [low, high]."""
    if not isinstance(value, int | float) or not math.isfinite(value) or not low <= value <= high:
        raise _error(key, repr(value), f"a number {_range(low, high)}")


def require_tap(value: str) -> None:
    """Raise a UserError unless `value` names a backbone tap."""
    if value not in TAPS:
        raise _error("tap", repr(value), f"one of {', '.join(TAPS)}")


def _range(low: float, high: float) -> str:
    return f"of at least {low}" if high == math.inf else f"from {low} to {high}"


def _error(key: str, got: str, expected: str) -> UserError:
    key = f"model.cluster.{key}"
    return UserError(f"{key}: got {got}, expected {expected}. Change {key} in the config or on the command line.")
