"""Settings held against the signatures of what they configure: each ``_target_`` tells the keys and types it takes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from hydra.utils import get_object
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

HYDRA_KEYS = frozenset({"_target_", "_partial_", "_convert_", "_recursive_", "_args_"})
KINDS = {
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "keys and values",
}


def mistakes(config: Any, path: str = "") -> Iterator[str]:
    """Tell each setting whose key or type its ``_target_`` does not take, at any depth.

    A value is held against the annotation of its parameter; what cannot be checked passes.

    Args:
        config: Plain containers, resolved.
        path: The key of ``config``, for the messages.
    """
    if not isinstance(config, Mapping):
        return
    try:
        known = parameters(str(config["_target_"])) if "_target_" in config else {None: Any}
    except ImportError:
        yield f"{path}._target_={config['_target_']}: there is no such class or function; give its module and its name"
        return
    for name, value in config.items():
        key = f"{path}.{name}" if path else str(name)
        if name in HYDRA_KEYS:
            continue
        if name not in known and None not in known:
            taken = [str(other) for other in known]
            yield f"{key}: {config['_target_']} takes no such setting{nearest(str(name), taken)}"
        elif not _holds_target(value):
            yield from wrong_type(key, value, known.get(name, Any))
        yield from mistakes(value, key)


def parameters(target: str) -> dict[str | None, Any]:
    """The annotations of the parameters of a class or function, by name; with an entry None if it takes others too.

    A class that hands ``**settings`` on to its parent takes the parent's parameters as well.
    """
    found: dict[str | None, Any] = {}
    for function in _functions(get_object(target)):
        given = inspect.signature(function).parameters.values()
        hints = _hints(function)
        for parameter in given:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                found.setdefault(parameter.name, hints.get(parameter.name, Any))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in given):
            return found
    return found | {None: Any}


def _functions(target: Any) -> list[Any]:
    if not inspect.isclass(target):
        return [target]
    return [vars(parent)["__init__"] for parent in target.__mro__[:-1] if "__init__" in vars(parent)]


def _hints(function: Any) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except (NameError, TypeError):  # a name that is imported for type checkers only
        return {}


def _holds_target(value: Any) -> bool:
    """Whether Hydra makes an object of the value or of a part of it."""
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_holds_target, value.values()))
    return isinstance(value, list) and any(map(_holds_target, value))


def wrong_type(key: str, value: Any, hint: Any) -> Iterator[str]:
    """Tell what was expected where a value is not of the type of an annotation.

    An integer passes for a number and a list for a tuple; text never passes for a number.
    """
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        kinds = {_kind(dict(each)): None for each in error.errors() if each["type"] != "needs_python_object"}
        if type(None) in get_args(hint):
            kinds["null"] = None
        yield f"{key}={shown(value)}: expected {' or '.join(kinds)}"
    except (PydanticUserError, TypeError):  # an annotation that tells nothing about plain values
        return


def _kind(error: dict[str, Any]) -> str:
    expected = error.get("ctx", {}).get("expected")
    return KINDS.get(error["type"]) or str(expected or error["msg"].removeprefix("Input should be "))


def at(settings: Any, key: str) -> Any:
    """The value under a dotted key; None where there is none."""
    for part in key.split("."):
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings


def shown(value: Any) -> str:
    """A value as it is typed on the command line, cut if it is long."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """`` (did you mean ...?)`` with the known name that comes nearest, or nothing."""
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
