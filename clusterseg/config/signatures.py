"""Check settings against the signatures of the classes and functions that they configure.

Types and ranges are written once, as annotations of the parameters: `momentum: Annotated[float, Field(ge=0, le=1)]`.
They are read here, both from a configuration (`mistakes`) and when the object is built directly (`checked`).
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar, get_args, get_type_hints

from hydra.utils import get_object
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from clusterseg.errors import UserError

C = TypeVar("C", bound=type)
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


def checked(key: str) -> Callable[[C], C]:
    """Class decorator: the constructor refuses values outside the ranges of its annotations.

    Args:
        key: The part of a configuration that builds the class, for the messages.

    Examples:
        >>> from typing import Annotated
        >>> from pydantic import Field
        >>> @checked("model.head")
        ... class Head:
        ...     def __init__(self, weight: Annotated[float, Field(ge=0)]) -> None:
        ...         self.weight = weight
        >>> Head(-1.0)
        Traceback (most recent call last):
        clusterseg.errors.UserError: model.head.weight=-1.0: expected a number of at least 0
    """

    def decorate(cls: C) -> C:
        original = vars(cls)["__init__"]
        signature = inspect.signature(original)

        @functools.wraps(original)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            given = signature.bind(self, *args, **kwargs).arguments
            hints = {name: hint for name, hint in _hints(original).items() if _expected(hint)}
            found = [
                line
                for name, value in given.items()
                if name in hints
                for line in wrong_type(f"{key}.{name}", value, hints[name])
            ]
            if found:
                raise UserError("\n".join(found))
            original(self, *args, **kwargs)

        cls.__init__ = init  # type: ignore[misc]  # the wrapped one has its signature
        return cls

    return decorate


def mistakes(config: Any, path: str = "") -> Iterator[str]:
    """List each setting whose key, type or range its `_target_` does not take, at any depth.

    A value is checked against the annotation of its parameter; what cannot be checked passes.

    Args:
        config: Plain containers, resolved.
        path: The key of `config`, for the messages.
    """
    if not isinstance(config, Mapping):
        return
    try:
        known = parameters(str(config["_target_"])) if "_target_" in config else {None: Any}
    except ImportError as error:
        reason = (str(error).splitlines()[1:2] or [str(error)])[0]  # Hydra's first line has the name once more
        named = f"{path}._target_={config['_target_']}"
        yield f"{named}: there is no such class or function ({reason}); give its module and its name"
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


def require(config: Mapping[str, Any], **hints: Any) -> None:
    """Check settings of a command against annotations.

    Raises:
        UserError: It names every setting that has another type or range.
    """
    found = [line for key, hint in hints.items() for line in wrong_type(key, config[key], hint)]
    if found:
        raise UserError("\n".join(found))


def parameters(target: str) -> dict[str | None, Any]:
    """Return the parameter annotations of a class or function by name; an entry None marks `**kwargs`.

    A class that hands `**settings` on to its parent takes the parent's parameters as well.
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
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError):  # a name imported for type checkers only
        return {}


def _holds_target(value: Any) -> bool:
    """Whether Hydra builds an object from the value or from a part of it."""
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(_holds_target, value.values()))
    return isinstance(value, list) and any(map(_holds_target, value))


def wrong_type(key: str, value: Any, hint: Any) -> Iterator[str]:
    """Describe the expected value if a value violates the type or range of an annotation; None if it is valid.

    An integer is accepted as a number and a list as a tuple; text is never accepted as a number.
    """
    try:
        _adapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        yield f"{key}={shown(value)}: expected {_expected(hint) or _kinds(error, hint)}"
    except (PydanticUserError, TypeError):  # an annotation that does not describe plain values
        return


def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))


def _kinds(error: ValidationError, hint: Any) -> str:
    kinds = {_kind(dict(each)): None for each in error.errors() if each["type"] != "needs_python_object"}
    if type(None) in get_args(hint):
        kinds["null"] = None
    if not kinds:
        return f"a {getattr(hint, '__name__', hint)}, by its _target_"
    return " or ".join(kinds)


def _kind(error: dict[str, Any]) -> str:
    expected = error.get("ctx", {}).get("expected")
    return KINDS.get(error["type"]) or str(expected or error["msg"].removeprefix("Input should be "))


def _expected(hint: Any) -> str | None:
    """Describe the plain values that an annotation accepts; None if it accepts others."""
    try:
        schema = _adapter(hint).json_schema()
    except (PydanticUserError, TypeError):
        return None
    words = [_words(arm) for arm in schema.get("anyOf", [schema])]
    return None if None in words else " or ".join(map(str, words))


def _words(schema: Any) -> str | None:
    if not isinstance(schema, Mapping):
        return None
    if "const" in schema or "enum" in schema:
        return " or ".join(repr(choice) for choice in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array" and _words(schema.get("items", {})):
        return f"a list, each {_words(schema['items'])}"
    if schema.get("type") == "object" and _words(schema.get("additionalProperties") or {}):
        return f"names with {_words(schema['additionalProperties'])} each"
    plain = {"null": "null", "boolean": "true or false", "string": "text"}
    numbers = {"integer": "an integer", "number": "a number"}
    kind = str(schema.get("type"))
    return plain.get(kind) or (numbers[kind] + _range(schema) if kind in numbers else None)


def _range(schema: Mapping[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f" from {schema['minimum']:g} to {schema['maximum']:g}"
    words = {
        "exclusiveMinimum": "above",
        "minimum": "of at least",
        "exclusiveMaximum": "below",
        "maximum": "of at most",
    }
    bounds = [f"{word} {schema[name]:g}" for name, word in words.items() if name in schema]
    return f" {' and '.join(bounds)}" if bounds else ""


def at(settings: Any, key: str) -> Any:
    """Return the value under a dotted key; None if there is none."""
    for part in key.split("."):
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings


def shown(value: Any) -> str:
    """Format a value as on the command line, shortened if long."""
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` with the nearest known name, or an empty string."""
    close = get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
