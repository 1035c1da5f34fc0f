"""Protect the results of an earlier run in a folder; only `overwrite=true` replaces them."""

from __future__ import annotations

import shutil
from pathlib import Path

from clusterseg.errors import UserError
from clusterseg.runs.outcome import FILE, read_outcome

#: Files that a training writes, except `.hydra` and the log, which Hydra has already opened.
WRITTEN = (
    "config.yaml",
    "metrics.csv",
    FILE,
    "wandb_run.json",
    "dashboard.html",
    "clusters.*",
    "checkpoints/*.ckpt",
    "pictures/*/step_*.png",
    "tensorboard/events.out.tfevents.*",
    "wandb/offline-run-*",
    "wandb/run-*",
    "wandb/latest-run",
)


def holds_run(folder: Path) -> bool:
    """Whether the folder holds a checkpoint, or an outcome other than `failed`."""
    if any((folder / "checkpoints").glob("*.ckpt")):
        return True
    outcome = read_outcome(folder)
    return outcome is not None and outcome.state != "failed"


def require_free(folder: Path, ckpt: str | None, overwrite: bool) -> None:
    """Refuse to start in a folder that holds an earlier run.

    Args:
        folder: The run folder.
        ckpt: The checkpoint to resume, if any: `last`, `auto`, or a path.
        overwrite: Whether the earlier run may be removed.

    Raises:
        UserError: The folder holds a run that is neither resumed nor overwritten.
    """
    if ckpt is not None and overwrite:
        raise UserError(f"ckpt={ckpt} resumes a run and overwrite=true removes it; leave one of them out")
    if overwrite or not holds_run(folder) or _goes_on(ckpt, folder):
        return
    outcome = read_outcome(folder)
    state = f"a run that has {outcome.state}" if outcome else "a run that was killed"
    raise UserError(
        f"run folder {folder} holds {state}, which a new one would replace; to resume it, add ckpt=last; else "
        "choose another folder by hydra.run.dir=DIR, or add overwrite=true to remove the old run"
    )


def _goes_on(ckpt: str | None, folder: Path) -> bool:
    """Whether the checkpoint lies in the folder itself."""
    return ckpt in ("last", "auto") or (
        ckpt is not None and Path(ckpt).expanduser().resolve().is_relative_to(folder.resolve())
    )


def remove_run(folder: Path) -> None:
    """Remove the files of an earlier training and leave all others."""
    for pattern in WRITTEN:
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
