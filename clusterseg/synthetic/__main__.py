"""Generate streets: `python -m clusterseg.synthetic out=DIR scans=N seed=1 [sequences=[00,08]] [workers=2] ...`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields

from clusterseg.errors import UserError
from clusterseg.synthetic.dataset import write_streets
from clusterseg.synthetic.recipe import Recipe

_FLAGS = {"true": True, "false": False}


def main(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit status, with a one-message error on stderr for a user's mistake."""
    if any(a in ("-h", "--help") for a in arguments):
        print(_usage())
        return 0
    try:
        settings = _settings(arguments)
        out = settings.pop("out", None)
        if not out:
            raise UserError(f"out: is missing; say where to write\n{_usage()}")
        workers = _workers(settings.pop("workers", "1"))
        overwrite = _flag("overwrite", settings.pop("overwrite", "false"))
        recipe = Recipe.of(**settings)
        write_streets(out, recipe, workers, overwrite)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    print(f"{out}: {recipe.scans} scans in each of {len(recipe.sequences)} sequences; recipe {recipe.hash}")
    return 0


def _usage() -> str:
    defaults = " ".join(f"[{f.name}={_shown(f.default)}]" for f in fields(Recipe))
    return f"usage: python -m clusterseg.synthetic out=DIR {defaults} [workers=1] [overwrite=false]"


def _shown(value: object) -> object:
    return "all" if isinstance(value, tuple) else value


def _settings(arguments: Sequence[str]) -> dict[str, str]:
    known = ["out", "workers", "overwrite", *(f.name for f in fields(Recipe))]
    settings: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or key not in known:
            raise UserError(f"{argument}: expected KEY=VALUE with a key among {', '.join(known)}")
        if key in settings:
            raise UserError(f"{key}: is given twice, {settings[key]!r} and {value!r}; keep one")
        settings[key] = value
    return settings


def _workers(value: str) -> int:
    if not value.isdigit() or int(value) < 1:
        raise UserError(f"workers: got {value!r}, expected a number of processes, 1 or more")
    return int(value)


def _flag(key: str, value: str) -> bool:
    if value not in _FLAGS:
        raise UserError(f"{key}: got {value!r}, expected true or false")
    return _FLAGS[value]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
