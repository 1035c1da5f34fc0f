"""Flatten configurations to dotted keys and compare them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Return the settings by dotted key; an empty mapping counts as a value.

    Examples:
        >>> flat({"data": {"root": "x", "augmentation": {}}, "seed": 1})
        {'data.root': 'x', 'data.augmentation': {}, 'seed': 1}
    """
    if not isinstance(settings, Mapping) or not settings:
        return {prefix: settings} if prefix else {}
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}.{name}" if prefix else str(name))
    return found


def differing(many: Sequence[Mapping[str, T]]) -> list[str]:
    """Return the keys whose values differ among several flat configurations."""
    keys = dict.fromkeys(key for settings in many for key in settings)
    missing = object()
    return [key for key in keys if any(many[0].get(key, missing) != settings.get(key, missing) for settings in many)]


def compare(theirs: Any, ours: Any, key: str = "", whole: Sequence[str] = ()) -> Iterator[tuple[str, Any, Any]]:
    """Yield (key, value in `theirs`, value in `ours`) of each setting that differs, at any common depth.

    Args:
        theirs: A configuration or a part of one.
        ours: Another one.
        key: Their dotted key.
        whole: Names whose values are compared as one setting, without descending.
    """
    if theirs == ours:
        return
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping) and key.rpartition(".")[2] not in whole:
        for name in dict.fromkeys([*theirs, *ours]):
            yield from compare(theirs.get(name), ours.get(name), f"{key}.{name}".strip("."), whole)
    else:
        yield key, theirs, ours
