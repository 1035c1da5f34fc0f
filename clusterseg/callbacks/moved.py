"""A run that has been moved, copied or mounted elsewhere keeps its best checkpoints, and what they scored."""

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
    """Lets every `ModelCheckpoint` of a resumed run find its files where they lie now.

    Its state holds absolute paths, and Lightning drops the best score where they are others than before. Here they are
    taken by their place in the folder of checkpoints. A run that goes on in another folder than that of its checkpoint
    takes the best ones along.
    """

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Rewrite the paths, before Lightning hands the states to the callbacks; all ranks have those of rank 0."""
        states = checkpoint.get("callbacks") or {}
        source = Path(str(trainer.ckpt_path)).absolute().parent
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            key = callback.state_key
            if isinstance(callback, ModelCheckpoint) and callback.dirpath and "dirpath" in states.get(key, {}):
                moved = states[key]
                if trainer.is_global_zero:
                    moved = moved_state(states[key], key, source, Path(callback.dirpath))
                states[key] = trainer.strategy.broadcast(moved)


def moved_state(state: Mapping[str, Any], key: str, source: Path, target: Path) -> dict[str, Any]:
    """The state of a `ModelCheckpoint` whose files lie in `target`; those that are gone are forgotten.

    Args:
        state: As it was saved.
        key: Its name in a checkpoint.
        source: Folder of the checkpoint that is resumed; what is missing in `target` is copied from there.
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
    """The place of a file in the folder of checkpoints."""
    return (
        PurePath(path).relative_to(folder) if PurePath(path).is_relative_to(folder) else PurePath(PurePath(path).name)
    )


def _scores(path: Path, key: str, score: Any) -> bool:
    """Whether a file is there and is the one with that score: its run may have gone on and replaced it."""
    if not path.is_file():
        return False
    try:
        states = read_checkpoint(path).get("callbacks") or {}
    except UserError:
        return False
    return any(float(each) == float(score) for each in states.get(key, {}).get("best_k_models", {}).values())
