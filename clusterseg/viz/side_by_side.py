"""Compare the settings of runs."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from clusterseg.config.flatten import differing, flat


def settings_of(text: str) -> dict[str, str]:
    """Return the settings of a configuration file by dotted key; empty if the file is damaged."""
    try:
        return {key: str(value) for key, value in flat(yaml.safe_load(text)).items()}
    except yaml.YAMLError:
        return {}


def differences(settings: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the settings in which runs differ: by key, the value of each run; a dash if it has none."""
    runs = list(settings.values())
    return {key: [run.get(key, "-") for run in runs] for key in differing(runs)} if runs else {}
