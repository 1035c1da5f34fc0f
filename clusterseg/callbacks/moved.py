"""Restore the best checkpoints and their scores when a run folder was moved, copied or mounted elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, ModelCheckpoint

from clusterseg.errors import UserError
from clusterseg.files import link_or_copy, replacing
from clusterseg.runs.checkpoint import read_checkpoint

PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")


class MovedRun(Callback):
    """Updates the paths of every `ModelCheckpoint` of a resumed run to the current folder.

    The state of a `ModelCheckpoint` holds absolute paths, and Lightning drops the best score if they have changed.
    This callback resolves them relative to the folder of checkpoints. A run that resumes in a different folder
    copies the best checkpoints there.
    """

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Rewrite the paths before Lightning restores the callbacks; all ranks use the paths of rank 0."""
        states = checkpoint.get("callbacks") or {}
        source = Path(str(trainer.ckpt_path)).absolute().parent
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning leaves it untyped
            key = callback.state_key
            if isinstance(callback, ModelCheckpoint) and callback.dirpath and "dirpath" in states.get(key, {}):
                moved = states[key]
                if trainer.is_global_zero:
                    moved = moved_state(states[key], key, source, Path(callback.dirpath))
                states[key] = trainer.strategy.broadcast(moved)


def moved_state(state: Mapping[str, Any], key: str, source: Path, target: Path) -> dict[str, Any]:
    """Return the state of a `ModelCheckpoint` with its files in `target`; missing files are dropped.

    Args:
        state: The saved state.
        key: Its key in a checkpoint.
        source: Folder of the resumed checkpoint; files missing in `target` are copied from there.
        target: Folder of the run's checkpoints.
    """
    old, best, paths = PurePath(state["dirpath"]), {}, {"": ""}
    for path, score in state["best_k_models"].items():
        place = _within(path, old)
        if not (target / place).is_file() and _scores(source / place, key, score):
            with replacing(target / place) as temporary:
                link_or_copy(source / place, temporary)
        if (target / place).is_file():
            paths[path] = str(target / place)
            best[paths[path]] = score
    named = {name: paths.get(state[name], "") for name in PATHS}
    return {**state, "dirpath": str(target), "best_k_models": best, **named}


def _within(path: str, folder: PurePath) -> PurePath:
    """Path of a file relative to the folder of checkpoints."""
    return (
        PurePath(path).relative_to(folder) if PurePath(path).is_relative_to(folder) else PurePath(PurePath(path).name)
    )


def _scores(path: Path, key: str, score: Any) -> bool:
    """Whether the file exists and has that score; its run may have continued and replaced it."""
    if not path.is_file():
        return False
    try:
        states = read_checkpoint(path).get("callbacks") or {}
    except UserError:
        return False
    return any(float(each) == float(score) for each in states.get(key, {}).get("best_k_models", {}).values())
