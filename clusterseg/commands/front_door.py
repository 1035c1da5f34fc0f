"""The command-line entry point `clusterseg COMMAND key=value ...`; all commands parse arguments the same way."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from clusterseg import __version__
from clusterseg.commands.allocator import keep_freed_memory
from clusterseg.commands.idle_threads import sleep_when_idle
from clusterseg.commands.lean_start import leave_out_scipy_signal

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Command:
    """A command of the console script.

    Attributes:
        purpose: Description in one line.
        positional: The setting that takes arguments without `key=`, or None.
        several: Whether it takes more than one argument.
    """

    purpose: str
    positional: str | None = None
    several: bool = False


#: Module, function and configuration of a command have its name, with `_` for `-`.
COMMANDS = {
    "train": Command("train a network; -m for a sweep"),
    "evaluate": Command("score a checkpoint; with split=test, the benchmark's submission"),
    "predict": Command("label point clouds of any format"),
    "streets": Command("generate synthetic streets, to try everything without data"),
    "check": Command("read a data set before anyone trains on it"),
    "convert-weights": Command("make a checkpoint of published weights"),
    "export": Command("write the weights of a checkpoint for other programs"),
    "profile": Command("parameters, operations and time of each layer"),
    "search": Command("sample networks of the SPVNAS family within bounds"),
    "summary": Command("tables and a plot of a set of runs", "runs", several=True),
    "study": Command("arms x seeds of one file, and a report of paired differences", "what", several=True),
    "dashboard": Command("one offline page of a run, or of several", "runs", several=True),
    "viewer": Command("one offline page with scans in three dimensions", "input"),
    "submission": Command("check a submission as the benchmark's server would", "path"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line of the console script; exits with status 2 on a mistake."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
    elif given[0] in ("-V", "--version"):
        print(f"clusterseg {__version__}")
    elif given[0] in COMMANDS:
        run(given[0], given[1:], [sys.argv[0], given[0]])
    else:
        close = get_close_matches(given[0], COMMANDS, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        print(f"error: {given[0]}: no such command{meant}; clusterseg --help lists them", file=sys.stderr)
        sys.exit(2)


def overview() -> str:
    """Return the help text that lists the commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.purpose}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "Segment lidar scans with sparse point-voxel networks and within-class clustering.",
            "",
            "  clusterseg COMMAND key=value ...        clusterseg COMMAND --help",
            "",
            *lines,
            "",
            "  clusterseg train experiment=demo        everything at once, without data",
            "  clusterseg --version",
        ]
    )


def run(name: str, arguments: Sequence[str], program: Sequence[str] | None = None) -> None:
    """Run a command.

    Args:
        name: A key of `COMMANDS`.
        arguments: The arguments after the command.
        program: The command line before the arguments; None for a separate script, such as `train.py`.
    """
    sleep_when_idle()
    keep_freed_memory()
    leave_out_scipy_signal()
    from clusterseg.commands.hydra_command import quieten, run_command

    if os.getcwd() not in sys.path:
        sys.path.append(
            os.getcwd()
        )  # last, so that a user's network or reader in this folder never shadows an installed module
    own = name.replace("-", "_")

    def command(config: DictConfig, folder: Path) -> object:
        # Only now, for PyTorch takes seconds to load: help, and a mistake in a setting's name, come without it.
        function = getattr(import_module(f"clusterseg.commands.{own}"), own)
        quieten()  # Hydra and Lightning have set the levels of loggers; a launcher may run this in a process of its own
        return function(config, folder)

    run_command(own, command, with_keys(COMMANDS[name], arguments), program or [sys.argv[0]])


def with_keys(command: Command, arguments: Sequence[str]) -> list[str]:
    """Turn positional arguments, such as the runs of `clusterseg dashboard RUN RUN`, into `key=value`."""
    if command.positional is None:
        return list(arguments)
    plain = [argument for argument in arguments if _is_plain(argument)]
    others = [argument for argument in arguments if argument not in plain]
    from clusterseg.config.suggestions import quoted

    values = [quoted(argument) for argument in plain]
    if not values:
        return others
    value = f"[{','.join(values)}]" if command.several else values[-1]
    return [*others, f"{command.positional}={value}"]


def _is_plain(argument: str) -> bool:
    """Whether an argument is a value without a key: not a flag; an existing path may contain `=`."""
    if argument.startswith("-"):
        return False
    return (not re.match(r"[~+]{0,2}[\w./@-]+=", argument) and not argument.startswith("~")) or Path(argument).exists()
