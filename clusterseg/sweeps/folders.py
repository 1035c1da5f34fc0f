"""The folder of a run or of a sweep, before Hydra writes into it: its own, and no other process's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from clusterseg.config.suggestions import quoted
from clusterseg.errors import UserError
from clusterseg.runs.earlier import holds_run, require_free
from clusterseg.runs.lock import is_worked_in, working_in
from clusterseg.runs.rank import is_first_rank

CLOCK = "${now:"  # in the name of a folder that no one has chosen


class Refused(BaseException):
    """A mistake of the user, out of a callback of Hydra's, which makes a warning of every `Exception`."""


class OwnFolder(Callback):
    """Gives each run and each sweep a folder of its own; Hydra makes it from `hydra.callbacks`.

    A folder that is named after the clock is made anew, with a number after its name where two runs start in the same
    second. One that the user names is locked, and refused where another run works in it or an earlier one lies there.
    The other ranks of a job take what they are given.
    """

    held: ClassVar[ExitStack | None] = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make or check the folder of a run."""
        if not is_first_rank():
            return
        with _resolving(config):
            folder = _make(config, "run")
        with _refusing():
            _hold(folder)
            if "optim" in config:
                require_free(folder, config.get("ckpt"), config.get("overwrite") is True)
            elif holds_run(folder):
                raise UserError(
                    f"run folder {folder} is that of a training, whose configuration would be replaced; "
                    "choose another by hydra.run.dir=DIR"
                )

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Make or check the folder of a sweep, and those of its jobs."""
        with _resolving(config):
            folder = _make(config, "sweep")
        with _refusing():
            _hold(folder)
            for job in sorted(folder.glob("[0-9]*")):
                if is_worked_in(job):
                    raise UserError(f"{job}: this run of an earlier sweep still goes on; wait for its end, or end it")
                if "optim" in config and "n_trials" not in config.hydra.sweeper:  # a study counts on from its last job
                    require_free(job, config.get("ckpt"), config.get("overwrite") is True)


@contextmanager
def holding_folders() -> Iterator[None]:
    """Hold what `OwnFolder` takes, to the end of the command.

    Raises:
        UserError: It was refused.
    """
    with ExitStack() as OwnFolder.held:
        try:
            yield
        except Refused as refused:
            raise UserError(str(refused)) from None
    OwnFolder.held = None


def _hold(folder: Path) -> None:
    if OwnFolder.held is not None:
        OwnFolder.held.enter_context(working_in(folder))


def _make(config: DictConfig, kind: str) -> Path:
    """The folder of a configuration; one that is named after the clock is made here, and its name set."""
    given = OmegaConf.to_container(config.hydra[kind], resolve=False)
    folder = Path(config.hydra[kind].dir)
    if not isinstance(given, dict) or CLOCK not in given["dir"]:
        return folder
    with suppress(OSError):  # Hydra will meet it too, and tell
        made = make_new(folder)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra[kind].dir = str(made)
            config.hydra.overrides.hydra.append(f"hydra.{kind}.dir={quoted(str(made))}")
        return made
    return folder


def make_new(folder: Path) -> Path:
    """Make a folder that no one else has made: this one, or with the first free number after its name.

    Raises:
        OSError: It cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        with suppress(FileExistsError):
            os.mkdir(path)
            break
    return path


@contextmanager
def _resolving(config: DictConfig) -> Iterator[None]:
    """Let `${hydra:...}` in the names of folders be resolved, as Hydra does when the run has begun."""
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(config)
    try:
        yield
    finally:
        hydra.cfg = before


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise Refused(str(error)) from None
