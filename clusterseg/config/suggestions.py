"""Suggest the nearest existing key, choice or setting for a wrong override."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, OverrideParseException
from omegaconf import OmegaConf

from clusterseg.config.signatures import at, nearest, parameters

ADVICE = "--help lists the keys and choices, --cfg job the composed configuration."
#: Remedies if a part of the configuration is null and therefore has no settings.
REMEDIES = {"model.cluster": "choose a model with a cluster head, such as model=spvnas_cluster"}
#: Launchers in separate packages, and the extra that installs each.
PLUGINS = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit", "ray": "ray"}


def composition_mistake(error: Exception, conf: Path, config_name: str, overrides: Sequence[str]) -> str | None:
    """Explain why Hydra could not compose a configuration and suggest the nearest valid override.

    Args:
        error: What Hydra raised.
        conf: The folder of the configurations.
        config_name: Name of the composed configuration.
        overrides: The overrides on the command line.

    Returns:
        The message, or None if Hydra's own message is sufficient.
    """
    said = str(error)
    launcher = re.search(r"Could not (?:find|load) 'hydra/launcher/(\w+)'", said)
    if launcher and launcher[1] in PLUGINS:
        return f"hydra/launcher={launcher[1]} is not installed; pip install 'clusterseg[{PLUGINS[launcher[1]]}]'"
    choice = re.search(r"Could not find '(.+)'\s+Available options in '(.+)':\n((?:\t.+\n?)+)", said)
    if choice:
        return _unknown_choice(choice[2], choice[1].removeprefix(f"{choice[2]}/"), choice[3].split(), conf)
    if isinstance(error, OverrideParseException):
        return _unparsed(error.override)
    several = re.match(r"Ambiguous value for argument '(.+)'", said)
    if several:  # a sweep without -m, or a name with a comma
        return _unparsed(several[1])
    if said.startswith("Config group override must be a string"):
        return f"a group takes the name of a choice, such as trainer=cpu, not a number\n{ADVICE}"
    key = re.match(r"Could not (?:override|delete from config\.) '(.+?)'", said)
    if not key:
        return None
    others = [text for text in overrides if not text.startswith(f"{key[1]}=")]
    config, groups = _composed(conf, config_name, others)
    return f"{_unknown_key(key[1], config, groups)}\n{ADVICE}"


def does_not_compose(conf: Path, config_name: str, arguments: Sequence[str]) -> str | None:
    """Return why a command line cannot be composed, or None if it can.

    Args:
        conf: The folder of the configurations.
        config_name: Name of the composed configuration.
        arguments: `key=value`, and `--config-dir=DIR` for settings of one's own.
    """
    overrides = [text for text in arguments if not text.startswith("-")]
    around = GlobalHydra.instance().hydra  # that of the command which asks
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            compose(config_name, [*_own_folders(arguments), *overrides])
    except (HydraException, ValueError) as error:
        return composition_mistake(error, conf, config_name, arguments) or str(error).splitlines()[0]
    finally:
        GlobalHydra.instance().hydra = around
    return None


def _own_folders(arguments: Sequence[str]) -> list[str]:
    """Return `--config-dir` of a command line as an override, which `compose` takes."""
    found = re.findall(r"(?:^|\n)(?:--config-dir|-cd)[=\n]([^\n]+)", "\n".join(arguments))
    return [f"hydra.searchpath=[{quoted(f'file://{Path(found[-1]).absolute()}')}]"] if found else []


def _unparsed(override: str) -> str:
    """Correct an override that Hydra cannot parse, or parses as a sweep."""
    key, equals, value = override.partition("=")
    if not equals or not value or value[0] in "[{\"'":
        return f"{override}: not of the form key=value; lists are written key=[a,b], text with spaces 'key=\"a b\"'"
    return (
        f"{override}: a value with any of = , ( ) [ ] {{ }} # or quotes in it, or letters of other alphabets, is "
        f"quoted, and again for the shell: {shlex.quote(f'{key}={quoted(value)}')}"
    )


def _unknown_choice(group: str, choice: str, options: list[str], conf: Path) -> str:
    options = [*options, *(f"{path.parent.name}/{path.stem}" for path in sorted((conf / group).glob("recipe/*.yaml")))]
    own = f"one of your own is FOLDER/{group}/{choice}.yaml, with --config-dir=FOLDER"
    return (
        f"{group}={choice}: no such choice{nearest(choice, options)}\nChoices of {group}: {', '.join(options)}; {own}"
    )


def _unknown_key(key: str, config: dict[str, Any], groups: list[str]) -> str:
    if key in groups:
        remedy = REMEDIES.get(key.replace("/", "."), "leave it out")
        return f"{key}: this configuration makes no use of the group; {remedy}"
    if key.startswith("data/label_map"):
        return f"{key}: a label map is a setting of the data; write data.label_map=NAME"
    if "/" in key:
        return f"{key}: no such group{nearest(key, groups)}"
    parent, _, name = key.rpartition(".")
    empty = next((part for part in _prefixes(key) if part in _keys(config) and at(config, part) is None), None)
    if empty:
        remedy = REMEDIES.get(empty, f"set {empty} itself, or choose another option of its group")
        return f"{key}: {empty} is null in this configuration, so it has no settings; {remedy}"
    within = at(config, parent) if parent else None
    if isinstance(within, dict) and "_target_" in within and name in parameters(within["_target_"]):
        return f"{key} is left at its default in the configuration; to set it, write +{key}=..."
    known = [*_keys(config), *groups]
    same_name = [
        other for other in known if other.rpartition(".")[2] == name and not isinstance(at(config, other), dict)
    ]
    meant = get_close_matches(key, same_name or known, n=1, cutoff=0.0 if same_name else 0.6)
    return f"{key}: no such key" + (f" (did you mean {meant[0]}?)" if meant else "")


def _composed(conf: Path, config_name: str, overrides: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Compose the choices on the command line, or the defaults if they are wrong too; return it with its groups."""
    GlobalHydra.instance().clear()
    chosen = [text for text in overrides if re.match(r"[\w/]+=", text)]
    with initialize_config_dir(str(conf), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        groups = [f"{parent}{name}" for parent in ("", "model/") for name in loader.list_groups(parent)]
        for attempt in (chosen, []):
            try:
                config = compose(config_name, [*_own_folders(overrides), *attempt])
            except (HydraException, ValueError):
                continue
            container = OmegaConf.to_container(config)
            assert isinstance(container, dict)
            return {str(key): value for key, value in container.items()}, groups
    return {}, groups


def _keys(config: Any, path: str = "") -> Iterator[str]:
    """Return every dotted key."""
    for name, value in config.items() if isinstance(config, dict) else ():
        if not str(name).startswith("_"):
            yield f"{path}{name}"
            yield from _keys(value, f"{path}{name}.")


def _prefixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def quoted(text: str) -> str:
    """Quote a value for Hydra's grammar, where `=`, commas, brackets and spaces are special."""
    escaped = re.sub(r'(\\+)(?="|$)', lambda slashes: slashes[1] * 2, text).replace('"', '\\"')
    return f'"{escaped}"'
