"""Create or check the folder of a run or a sweep before Hydra writes into it, and lock it."""

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

CLOCK = "${now:"  # part of the default folder names


class Refused(BaseException):
    """A mistake of the user raised in a Hydra callback; Hydra turns every `Exception` into a warning."""


class OwnFolder(Callback):
    """Gives each run and each sweep its own folder; Hydra creates it from `hydra.callbacks`.

    A folder named after the clock is created, with a number appended if two runs start in the same second. A folder
    named by the user is locked. It is refused if another run works in it or an earlier run lies in it. The other
    ranks of a job use the folder of rank 0.
    """

    held: ClassVar[ExitStack | None] = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Create or check the folder of a run."""
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
        """Create or check the folders of a sweep and of its jobs."""
        with _resolving(config):
            folder = _make(config, "sweep")
        with _refusing():
            _hold(folder)
            for job in sorted(folder.glob("[0-9]*")):
                if is_worked_in(job):
                    raise UserError(
                        f"{job}: this run of an earlier sweep is still running; wait for its end, or end it"
                    )
                if (
                    "optim" in config and "n_trials" not in config.hydra.sweeper
                ):  # a study continues the numbers of its jobs
                    require_free(job, config.get("ckpt"), config.get("overwrite") is True)


@contextmanager
def holding_folders() -> Iterator[None]:
    """Hold the locks that `OwnFolder` takes until the end of the command.

    Raises:
        UserError: A folder was refused.
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
    """Return the folder of a configuration; one named after the clock is created and set in the configuration."""
    given = OmegaConf.to_container(config.hydra[kind], resolve=False)
    folder = Path(config.hydra[kind].dir)
    if not isinstance(given, dict) or CLOCK not in given["dir"]:
        return folder
    with suppress(OSError):  # Hydra meets the same error and reports it
        made = make_new(folder)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra[kind].dir = str(made)
            config.hydra.overrides.hydra.append(f"hydra.{kind}.dir={quoted(str(made))}")
        return made
    return folder


def make_new(folder: Path) -> Path:
    """Create a new folder: this one, or with the first free number appended.

    Raises:
        OSError: It cannot be created.
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
    """Resolve `${hydra:...}` in the names of folders, as Hydra does after the start of a run."""
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
