"""Find the settings in which runs differ, and name the runs by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clusterseg.config.flatten import differing, flat
from clusterseg.sweeps.summary.run import Run

#: Settings without influence on the result, and the seed, in which repeated runs differ.
IGNORED = ("seed", "data.seed", "name", "ckpt", "optimize", "logger", "callbacks", "data.num_workers")
#: Config groups of Hydra without influence on the result.
IGNORED_CHOICES = ("logger", "callbacks", "sweep")
Settings = dict[str, str]


def comparable(runs: Sequence[Run]) -> list[Settings]:
    """Return the settings of each run by dotted key, without those that do not affect the result.

    Unresolved references are compared if Hydra wrote them, because a chosen value then occurs once; otherwise the
    resolved values.
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
    """Return the distinguishing settings of each run: differing group choices, then other differing settings.

    Args:
        runs: The runs.
        settings: The settings of each run, see `comparable`.
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
    """Whether a choice in one group implies a choice in another: `model` for `model/cluster`."""
    return other.startswith(f"{group}/")


def _explains(group: str, key: str) -> bool:
    """Whether a choice in a group can set a key: an experiment any key, other groups those of their part."""
    return group == "experiment" or key.startswith(f"{group.replace('/', '.')}.")


def _tells_apart(key: str, settings: Sequence[Settings], explained_by: Sequence[str]) -> bool:
    """Whether a setting differs among runs with the same choices of all groups that could set it."""
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
    """Return the value of a key; `set` for a part with its own settings, empty if it is missing."""
    return settings.get(key) or ("set" if any(other.startswith(f"{key}.") for other in settings) else "")


def label(name: Settings, short: Mapping[str, str], digits: int = 4) -> str:
    """Format a group's name in one line, such as `model=spvnas, cluster.momentum=0.99`, rounded to `digits`."""
    return ", ".join(f"{short[key]}={rounded(value, digits)}" for key, value in name.items()) or "all"


def rounded(value: str, digits: int = 4) -> str:
    """Round a number to some digits; leave other values unchanged."""
    try:
        return f"{float(value):.{digits}g}" if "." in value or "e" in value else value
    except ValueError:
        return value


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Map each dotted key to its last two parts, or more if two keys would be equal."""
    short: dict[str, str] = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-count:]) for count in range(min(2, len(parts)), len(parts) + 1)]
        others = [other for other in keys if other != key]
        short[key] = next((end for end in ends if not any(f".{o}".endswith(f".{end}") for o in others)), key)
    return short
