"""Commands with Hydra configurations: a mistake of the user gives one message, a bug gives its traceback."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from clusterseg.build.assembly import CONF
from clusterseg.errors import UserError
from clusterseg.config.suggestions import composition_mistake
from clusterseg.sweeps.callback import ending_sweep, objective, one_job, record_failure


def command(config_name: str, function: Callable[[DictConfig, Path], Any]) -> None:
    """Run a command: compose ``config_name`` with the command line, call ``function(config, run_dir)``, exit.

    A sweeper gets to know the metric that ``optimize`` names. Exit status 2 is a mistake of the user, or a sweep with
    failed runs, told on standard error.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach us instead of being printed with a traceback
    quieten()

    mistakes: list[str] = []

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)
    def main(config: DictConfig) -> Any:
        quieten()  # a launcher may give a job a process of its own
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            with one_job(folder):
                return objective(config, function(config, folder))
        except Exception as error:
            if not record_failure(folder, error, explain(error)):
                mistakes.append(_explained(error))

    try:
        with ending_sweep(mistakes):
            main()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        hint = composition_mistake(error, CONF, config_name, sys.argv[1:])
        mistakes.append(_explained(error) if hint is None else hint)
    for mistake in mistakes:
        print(f"error: {mistake}", file=sys.stderr)
    if mistakes:
        sys.exit(2)


def _explained(error: Exception) -> str:
    """The message for a mistake of the user; anything else is raised again."""
    message = explain(error)
    if message is None:
        raise error
    return message


def quieten() -> None:
    """Keep advertisements and notes on other libraries' internals out of what a person reads."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    messages = (
        ".*does not have many workers.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*Checkpoint directory .* exists and is not empty.*",  # a resumed run
        ".*recommended to use `self.log\\('val/.*sync_dist.*",  # the scores are synchronised already
        ".*could not find the monitored key.*",  # a run that ends before its first validation; run.py tells
    )
    for message in messages:
        warnings.filterwarnings("ignore", message=message)


def explain(error: BaseException) -> str | None:
    """The message for a mistake of the user, or None for anything else."""
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
        # Without Hydra's advice to add the key all the same, and without its search path.
        told = (
            str(error)
            .replace("Could not override", "there is no key")
            .partition("\nTo append to")[0]
            .partition("\nConfig search path")[0]
        )
        return f"{told}\nSee --help for the keys and choices, --cfg job for the composed configuration."
    if isinstance(error, OSError) and error.filename and _hydra_made(error):
        return f"run folder {error.filename} cannot be written ({error.strerror}); choose one by hydra.run.dir=DIR"
    return None


def _hydra_made(error: OSError) -> bool:
    """Whether Hydra, not we, touched the file: it makes the run folder before any of our code runs."""
    traceback = error.__traceback__
    files = []
    while traceback is not None:
        files.append(traceback.tb_frame.f_code.co_filename)
        traceback = traceback.tb_next
    return not any(file.endswith(("commands/train.py", "commands/evaluate.py")) for file in files)
