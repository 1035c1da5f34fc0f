"""The settings of runs side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml


def settings_of(text: str) -> dict[str, str]:
    """The settings of a configuration file by dotted key; none where the file is damaged."""
    try:
        return _flat(yaml.safe_load(text))
    except yaml.YAMLError:
        return {}


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if isinstance(value, dict) and value:
        parts = [_flat(part, f"{prefix}.{key}" if prefix else str(key)) for key, part in value.items()]
        return {key: text for part in parts for key, text in part.items()}
    return {prefix: str(value)} if prefix else {}


def differences(settings: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """The settings in which runs differ: by key, the value of each run; a dash where it has none."""
    keys = dict.fromkeys(key for run in settings.values() for key in run)
    table = {key: [run.get(key, "-") for run in settings.values()] for key in keys}
    return {key: values for key, values in table.items() if len(set(values)) > 1}
