"""The settings in which runs differ, and names made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clusterseg.config.flatten import differing, flat
from clusterseg.sweeps.summary.run import Run

#: What has no influence on the result, or is the very thing that repeated runs differ in.
IGNORED = ("seed", "data.seed", "name", "ckpt", "optimize", "logger", "callbacks", "data.num_workers")
#: Groups of Hydra whose choices say nothing about the result.
IGNORED_CHOICES = ("logger", "callbacks", "sweep")
Settings = dict[str, str]


def comparable(runs: Sequence[Run]) -> list[Settings]:
    """The settings of each run, by dotted key, without what does not count.

    References as Hydra composed them say what was chosen only once; without them the full values are compared.
    """
    written = all(run.written is not None for run in runs)
    return [
        {key: _text(value) for key, value in flat(run.written if written else run.config).items() if not _ignored(key)}
        for run in runs
    ]


def _ignored(key: str) -> bool:
    return any(key == ignored or key.startswith(f"{ignored}.") for ignored in IGNORED)


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value).replace("'", "")


def names(runs: Sequence[Run], settings: Sequence[Settings]) -> list[Settings]:
    """For each run only what sets it apart: differing choices of groups, then single settings they do not explain.

    Args:
        runs: The runs.
        settings: Of each, see `comparable`.
    """
    known = all(run.choices is not None for run in runs)
    choices = [_choices(run) if known else {} for run in runs]
    other = differing(choices)
    groups = [group for group in other if _tells_apart(group, choices, [g for g in other if _above(g, group)])]
    keys = differing(settings)
    keys = [key for key in keys if not any(key.startswith(f"{other}.") for other in keys)]
    both = [choice | values for choice, values in zip(choices, settings, strict=True)]
    keys = [key for key in keys if _tells_apart(key, both, [group for group in groups if _explains(group, key)])]
    return [
        {group: choice[group] for group in groups if group in choice}
        | {key: _value(values, key) for key in keys if _value(values, key)}
        for choice, values in zip(choices, settings, strict=True)
    ]


def _above(group: str, other: str) -> bool:
    """Whether a choice in one group brings a choice in another: `model` in `model/cluster`."""
    return other.startswith(f"{group}/")


def _explains(group: str, key: str) -> bool:
    """Whether a choice in a group sets a key: an experiment may set any, other groups their own part."""
    return group == "experiment" or key.startswith(f"{group.replace('/', '.')}.")


def _tells_apart(key: str, settings: Sequence[Settings], explained_by: Sequence[str]) -> bool:
    """Whether a setting differs among runs that agree on all that could explain it."""
    seen: dict[tuple[str | None, ...], set[str | None]] = {}
    for values in settings:
        seen.setdefault(tuple(values.get(group) for group in explained_by), set()).add(values.get(key))
    return any(len(found) > 1 for found in seen.values())


def _choices(run: Run) -> Settings:
    return {
        group: _text(choice)
        for group, choice in (run.choices or {}).items()
        if not group.startswith("hydra/") and group not in IGNORED_CHOICES
    }


def _value(settings: Settings, key: str) -> str:
    """The value of a key; `set` for a part with settings of its own, nothing where it is missing."""
    return settings.get(key) or ("set" if any(other.startswith(f"{key}.") for other in settings) else "")


def label(name: Settings, short: Mapping[str, str], digits: int = 4) -> str:
    """A group's name in one line, such as `model=spvnas, cluster.momentum=0.99`, numbers rounded to `digits`."""
    return ", ".join(f"{short[key]}={rounded(value, digits)}" for key, value in name.items()) or "all"


def rounded(value: str, digits: int = 4) -> str:
    """A number with so many digits; other values as they are."""
    try:
        return f"{float(value):.{digits}g}" if "." in value or "e" in value else value
    except ValueError:
        return value


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """For each dotted key its last two parts, or more where two keys would be the same."""
    short: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-count:]) for count in range(min(2, len(parts)), len(parts) + 1)]
        others = [other for other in keys if other != key]
        short[key] = next((end for end in ends if not any(f".{o}".endswith(f".{end}") for o in others)), key)
    return short
