"""What an earlier run left in a folder: it is not replaced unless that is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

from clusterseg.errors import UserError
from clusterseg.runs.outcome import FILE, read_outcome

#: What a training writes, besides `.hydra` and the log, which Hydra has opened by then.
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
    """Whether a training has left something that counts: a checkpoint, or word that it came to its end."""
    if any((folder / "checkpoints").glob("*.ckpt")):
        return True
    outcome = read_outcome(folder)
    return outcome is not None and outcome.state != "failed"


def require_free(folder: Path, ckpt: str | None, overwrite: bool) -> None:
    """Refuse to begin where an earlier run lies.

    Args:
        folder: The run folder.
        ckpt: The checkpoint to go on from, if any: `last`, `auto`, or a path.
        overwrite: Whether the earlier run may go.

    Raises:
        UserError: It may not, and the new one does not go on from it.
    """
    if ckpt is not None and overwrite:
        raise UserError(f"ckpt={ckpt} goes on with a run and overwrite=true removes it; leave one of them out")
    if overwrite or not holds_run(folder) or _goes_on(ckpt, folder):
        return
    outcome = read_outcome(folder)
    state = f"a run that has {outcome.state}" if outcome else "a run that was killed"
    raise UserError(
        f"run folder {folder} holds {state}, which a new one would replace; to go on with it, add ckpt=last; else "
        "choose another folder by hydra.run.dir=DIR, or add overwrite=true to remove the old run"
    )


def _goes_on(ckpt: str | None, folder: Path) -> bool:
    """Whether the checkpoint is one of the folder's own."""
    return ckpt in ("last", "auto") or (
        ckpt is not None and Path(ckpt).expanduser().resolve().is_relative_to(folder.resolve())
    )


def remove_run(folder: Path) -> None:
    """Remove what an earlier training wrote; files of others stay."""
    for pattern in WRITTEN:
        for path in folder.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
