"""The Optuna study of a sweep, shared by the sweeper and its jobs through a file in the sweep's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from clusterseg.errors import UserError

if TYPE_CHECKING:
    from optuna import Study

NAME = "sweep"
Direction = Literal["maximize", "minimize"]


def open_study(storage: str, direction: Direction, sampler: Any = None, pruner: Any = None) -> Study:
    """Open the study stored in `storage`; create it if there is none.

    Args:
        storage: Path of a journal file, safe on network file systems too, or the URL of a database.
        direction: `maximize` or `minimize`.
        sampler: Proposes the trials; needed by the sweeper only.
        pruner: Decides which trials to prune.

    Raises:
        UserError: Optuna is not installed, or the storage cannot be used.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ModuleNotFoundError:
        raise UserError("sweep=optuna: optuna is not installed; pip install 'clusterseg[optuna]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        if "://" not in storage:
            Path(storage).parent.mkdir(parents=True, exist_ok=True)
        return optuna.create_study(
            study_name=NAME,
            storage=storage if "://" in storage else JournalStorage(JournalFileBackend(storage)),
            direction=direction,
            sampler=sampler,
            pruner=pruner,
            load_if_exists=True,
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"hydra.sweeper.storage={storage}, direction={direction}: {error}; "
            "expected a file in a folder that you may write, and maximize or minimize"
        ) from error
