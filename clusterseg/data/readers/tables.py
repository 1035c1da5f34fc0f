"""Tables in JSON, read row by row: the largest of nuScenes has 2.6 million rows and would fill the memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clusterseg.errors import UserError

_BLOCK = 1 << 20  # characters
_BETWEEN = re.compile(r"[\s,]*")


def rows(path: Path, *keys: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table, an array of objects.

    Args:
        path: The file.
        *keys: Keys that each row must have.

    Raises:
        UserError: The file is missing or is no such table, or a row lacks a key.
    """
    for row in _objects(path):
        missing = [key for key in keys if not isinstance(row, dict) or key not in row]
        if missing:
            raise UserError(
                f"{path}: a row has no {', '.join(missing)} ({str(row)[:80]}); the table is of another version of the "
                "data set: download it again"
            )
        yield row


def _objects(path: Path) -> Iterator[Any]:
    try:
        with open(path, encoding="utf-8") as file:
            yield from _decoded(file, path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such table; download the metadata, or set data.version and data.root") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); download it again") from None


def _decoded(file: Any, path: Path) -> Iterator[Any]:
    """Decode the elements of an array one by one; an element that is not complete yet waits for the next block."""
    decoder, text, at, ended = json.JSONDecoder(), file.read(_BLOCK).lstrip(), 1, False
    if not text.startswith("["):
        raise UserError(f"{path}: expected a table, a JSON array of objects; it starts with {text[:20]!r}")
    while True:
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]  # it always matches
        if text[at : at + 1] == "]":
            return
        try:
            element, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            if ended:
                raise UserError(f"{path}: is no whole JSON table ({error}); download it again") from None
            more = file.read(_BLOCK)
            text, at, ended = text[at:] + more, 0, not more
        else:
            yield element
