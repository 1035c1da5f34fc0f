"""Run a command on a Hydra configuration; a user's mistake prints one message, a bug its traceback."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from clusterseg.config.suggestions import composition_mistake
from clusterseg.errors import UserError
from clusterseg.files import CONF
from clusterseg.sweeps.callback import ending_sweep, objective, one_job, record_failure
from clusterseg.sweeps.folders import holding_folders

Function = Callable[[DictConfig, Path], Any]


def run_command(config_name: str, function: Function, arguments: Sequence[str], program: Sequence[str]) -> None:
    """Compose `config_name` with the arguments, call `function(config, run_dir)`, and exit on a mistake.

    A sweeper gets the metric that `optimize` names. Exit status 2 means a mistake of the user or a sweep with failed
    runs; the message goes to standard error.

    Args:
        config_name: A file in `conf`.
        function: The command.
        arguments: `key=value` and Hydra's flags.
        program: The command line before the arguments, such as `["clusterseg", "train"]`; the other ranks of a job
            are started with it.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises exceptions instead of printing them
    quieten()
    given = sys.argv
    mistakes: list[str] = []
    ours = [False]  # whether the command itself is running; before that, Hydra creates the run folder

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)
    def main(config: DictConfig) -> Any:
        sys.argv = [*program, *sys.argv[1:]]
        folder = Path(HydraConfig.get().runtime.output_dir)
        ours[0] = True
        try:
            with one_job(folder, program), original_folder():
                result = objective(config, function(config, folder))
        except Exception as error:
            result = None
            if not record_failure(folder, error, explain(error)):
                mistakes.append(_explained(error))
        finally:
            sys.argv = [program[0], *sys.argv[len(program) :]]
        ours[0] = False
        return result

    sys.argv = [program[0], *arguments]  # Hydra parses this
    try:
        with holding_folders(), ending_sweep(mistakes):
            main()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        hint = composition_mistake(error, CONF, config_name, arguments)
        if hint is None and isinstance(error, OSError) and error.filename and not ours[0]:
            hint = f"run folder {error.filename} cannot be written ({error.strerror}); choose one by hydra.run.dir=DIR"
        mistakes.append(_explained(error) if hint is None else hint)
    finally:
        sys.argv = given
    for mistake in mistakes:
        print(f"error: {mistake}", file=sys.stderr)
    if mistakes:
        sys.exit(2)


@contextmanager
def original_folder() -> Iterator[None]:
    """Work in the folder where the command was given, regardless of `hydra.job.chdir`; paths are relative to it."""
    here = os.getcwd()
    os.chdir(HydraConfig.get().runtime.cwd)
    try:
        yield
    finally:
        os.chdir(here)


def _explained(error: Exception) -> str:
    """Return the message for a mistake of the user; raise anything else again."""
    message = explain(error)
    if message is None:
        raise error
    return message


def quieten() -> None:
    """Silence irrelevant warnings and notes of other libraries."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "matplotlib.font_manager"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it logs what it raises, and we say it in a line
    messages = (
        ".*does not have many workers.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run
        ".*recommended to use `self.log\\('val/.*sync_dist.*",  # the scores are synchronised already
        ".*could not find the monitored key.*",  # a run that ends before its first validation; `train` reports this
    )
    for message in messages:
        warnings.filterwarnings("ignore", message=message)


def explain(error: BaseException) -> str | None:
    """Return the message for a mistake of the user, or None for anything else."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    for link in chain:
        if isinstance(link, UserError):
            return str(link).rpartition("UserError: ")[2].strip()  # a worker process prepends its traceback
    if isinstance(error, InstantiationException):
        return str(error).splitlines()[0] if isinstance(error.__cause__, TypeError) else None
    if isinstance(error, HydraException | OmegaConfBaseException):
        # Drop Hydra's advice to add the key with `+`, and its search path.
        message = (
            str(error)
            .replace("Could not override", "there is no key")
            .partition("\nTo append to")[0]
            .partition("\nConfig search path")[0]
        )
        return f"{message}\nSee --help for the keys and choices, --cfg job for the composed configuration."
    return None
