"""Published weights as a checkpoint: `python -m clusterseg.commands.convert_weights model=spvnas model.init_from=FILE output=own.ckpt`."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from clusterseg.build.assembly import build_task, init_weights, plain, self_contained
from clusterseg.runs.checkpoint import AtomicCheckpointIO
from clusterseg.commands.hydra_command import command
from clusterseg.data.label_map import load_label_map
from clusterseg.errors import UserError

IN_CHANNELS = 4  # x, y, z, remission
log = logging.getLogger("clusterseg")


def convert_weights(config: DictConfig, run_dir: Path) -> None:
    """Write a checkpoint that evaluate.py and predict.py read, as if ``train.py`` had ended with these weights.

    Raises:
        UserError: A setting or a file is wrong.
    """
    if config.model.init_from is None:
        raise UserError("model.init_from is not set; give the path of published weights")
    output = Path(str(config.output)).expanduser()
    if output.is_dir():
        raise UserError(f"output={output} is a folder; give the path of the file to write")
    if output.exists() and output.samefile(config.model.init_from):
        raise UserError(f"output={output} is model.init_from itself; give another path")
    self_contained(config)
    task = build_task(config, load_label_map(config.data.label_map).class_names, IN_CHANNELS)
    init_weights(config, task)
    kept = plain(config)
    del kept["output"]
    try:
        AtomicCheckpointIO().save_checkpoint({"state_dict": task.state_dict(), "config": kept}, output)
    except OSError as error:
        raise UserError(f"output={output} cannot be written ({error.strerror}); give another path") from None
    log.info("wrote %s", output)


if __name__ == "__main__":
    command("convert_weights", convert_weights)
