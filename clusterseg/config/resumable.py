"""Check whether a configuration can resume a checkpoint: same model and optimiser; report other differences."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from clusterseg.config.flatten import compare
from clusterseg.config.signatures import at, shown
from clusterseg.errors import UserError

SHOWN = 8
#: Settings that change the training. The others concern locations, speed and logging.
COMPARED = (
    "seed",
    "model",
    "loss",
    "optim",
    "callbacks.ema",
    "data.label_map",
    "data.voxel_size",
    "data.augmentation",
    "data.batch_size",
    "data.batch_voxels",
    "data.max_voxels",
    "data.sequences",
    "data.train_scans",
    "data.epoch_scans",
    "data.parts",
)
#: Not used by a resumed run: its optimiser comes out of the checkpoint, with the learning rate that it had.
STARTS = ("model.init_from", "model.init_strict", "optim.lr_used")
log = logging.getLogger("clusterseg")


def require_same_model(
    path: object, checkpoint: Mapping[str, Any], state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> None:
    """Refuse to resume a checkpoint whose tensors or optimiser differ from the configuration; warn of other settings.

    Args:
        path: The checkpoint, for messages.
        checkpoint: Its content.
        state: Tensors of the new model, by name.
        config: Configuration of the new model.

    Raises:
        UserError: Model or optimiser differ (the message names the settings), or the checkpoint is not of a training.
    """
    if "global_step" not in checkpoint:
        raise UserError(f"ckpt={path} holds weights and no training to resume; start from them: model.init_from={path}")
    theirs: Mapping[str, Any] = checkpoint["config"]
    differ = [
        f"{name}: another network" if name.endswith(".control") else f"{name}: {_short(a)} -> {_short(b)}"
        for key in COMPARED
        for name, a, b in compare(at(theirs, key), at(config, key), key, whole=("control",))
        if name not in STARTS and not name.endswith(".root")  # where the files lie
    ]
    listed = "\n  ".join([*differ[:SHOWN], *([f"... and {len(differ) - SHOWN} more"] if len(differ) > SHOWN else [])])
    weights = checkpoint["state_dict"]
    same = {name: tuple(value.shape) for name, value in weights.items()} == {
        name: tuple(value.shape) for name, value in state.items()
    }
    kind = "optim.optimizer._target_"
    if not same or at(theirs, kind) != at(config, kind):
        raise UserError(
            f"ckpt={path} is of another model or optimiser than this command's (theirs -> here):\n  {listed}\n"
            f"Give the settings of its run, or start a new run from its weights: model.init_from={path}"
        )
    if differ:
        log.warning("resuming under other settings than those of %s (theirs -> here):\n  %s", path, listed)


def warn_of_other_steps(path: object, checkpoint: Mapping[str, Any], scans: float, batches: int) -> None:
    """Warn where a step takes other scans than in the run of the checkpoint, as on another number of ranks.

    Args:
        path: The checkpoint, for messages.
        checkpoint: Its content.
        scans: Scans of an optimiser step of the new run.
        batches: Batches of such a step: ranks x accumulated batches.
    """
    before = _scans_of_step(checkpoint)
    if before is None or before == scans:
        return
    whole = before % batches == 0
    remedy = f"data.batch_size={before // batches}" if whole else f"a number of ranks that divides {before} evenly"
    log.warning(
        "%s took %d scans a step, this run takes %g (in %d batches): it goes on with the scans left of its epoch, in "
        "other batches; to go on as without the stop, set %s",
        path,
        before,
        scans,
        batches,
        remedy,
    )


def _scans_of_step(checkpoint: Mapping[str, Any]) -> int | None:
    """Scans of an optimiser step of the run of a checkpoint; None with a budget of voxels, or where unknown."""
    ranks = checkpoint.get("callbacks", {}).get("RandomStates", {}).get("ranks")  # the random state of each
    config = checkpoint["config"]
    size, accumulated = at(config, "data.batch_size"), at(config, "trainer.accumulate_grad_batches")
    if at(config, "data.batch_voxels") is not None or not ranks or not size:
        return None
    return int(size) * len(ranks) * int(accumulated or 1)


def _short(value: Any) -> str:
    return "{...}" if isinstance(value, Mapping) else shown(value)
