"""Build objects from an untrusted configuration file without executing foreign code.

A checkpoint holds the configuration of its training, and a configuration names classes to build (`_target_`). A
malicious one could name anything: `torch.hub.load`, a compiler, `numpy.load`. Therefore an allow-list applies: classes
of the packages below and of modules that the user names (`trust=[my_package]`), with plain values as arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from clusterseg.config.signatures import HYDRA_KEYS
from clusterseg.errors import UserError

#: Packages whose classes a checkpoint may name: networks, data sets, augmentation.
ALLOWED = ("clusterseg.backbone", "clusterseg.data", "clusterseg.synthetic.datamodule")


def build_trusted(settings: Any, trust: Sequence[str], source: str, key: str = "", **given: Any) -> Any:
    """Build the object that untrusted settings describe.

    Args:
        settings: Plain containers; a mapping with `_target_` becomes an object of that class, at any depth.
        trust: Additional modules whose classes may be built, as named by the user.
        source: Origin of the settings for messages, such as `ckpt=PATH`.
        key: Their key, for messages.
        **given: Additional arguments of the outermost object.

    Raises:
        UserError: A class is not allowed or cannot be imported. In this case nothing is built or imported.
    """
    require_trusted(settings, trust, source, key)
    return _build(settings, trust, source, key, given)


def require_trusted(settings: Any, trust: Sequence[str], source: str, key: str) -> None:
    """Refuse settings that name, at any depth, a class from a module that is not trusted. Imports nothing.

    Raises:
        UserError: A class is not trusted. The message names it and `trust=`.
    """
    for where, target in _targets(settings, key):
        if not isinstance(target, str) or not _within(target.rpartition(".")[0], (*ALLOWED, *trust)):
            package = str(target).partition(".")[0]
            raise UserError(
                f"{source}: {where} asks to build {str(target)[:200]!r}, which is no class of clusterseg's networks or "
                f"data; nothing of it was run. If you trust where the file comes from, add trust=[{package}]"
            )


def _targets(settings: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield each `_target_` and the key of its settings, at any depth."""
    if isinstance(settings, Mapping):
        if "_target_" in settings:
            yield key, settings["_target_"]
        for name, value in settings.items():
            yield from _targets(value, f"{key}.{name}".strip("."))
    elif isinstance(settings, list | tuple):
        for i, value in enumerate(settings):
            yield from _targets(value, f"{key}[{i}]")


def _within(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _build(settings: Any, trust: Sequence[str], source: str, key: str, given: Mapping[str, Any]) -> Any:
    if isinstance(settings, list | tuple):
        return [_build(value, trust, source, f"{key}[{i}]", {}) for i, value in enumerate(settings)]
    if not isinstance(settings, Mapping):
        return settings
    values = {
        name: _build(value, trust, source, f"{key}.{name}".strip("."), {})
        for name, value in settings.items()
        if name not in HYDRA_KEYS
    }
    if "_target_" not in settings:
        return values
    make = _resolve(settings["_target_"], trust, source, key)
    try:
        return partial(make, **values, **given) if settings.get("_partial_") else make(**{**values, **given})
    except TypeError as error:
        raise UserError(f"{source}: {key}: {settings['_target_']} cannot be built: {error}") from error


def _resolve(target: str, trust: Sequence[str], source: str, key: str) -> Any:
    """Return the class of that name; it must be defined, not only imported, in an allowed module."""
    module, _, name = target.rpartition(".")
    try:
        found = vars(import_module(module)).get(name)
    except ImportError as error:
        raise UserError(
            f"{source}: {key}: {target} cannot be imported ({error}); install its package, or set PYTHONPATH to it"
        ) from None
    allowed = inspect.isclass(found) and _within(found.__module__, ALLOWED)
    if allowed or (callable(found) and _within(str(getattr(found, "__module__", "")), trust)):
        return found
    raise UserError(
        f"{source}: {key} asks to build {target!r}, which is no class that {module} defines; nothing of it was run"
    )
