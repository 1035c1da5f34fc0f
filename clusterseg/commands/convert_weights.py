"""Convert published weights to a checkpoint: `clusterseg convert-weights model.init_from=FILE output=own.ckpt`."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from clusterseg.backbone.shipped import weights_path
from clusterseg.build.prepare import self_contained
from clusterseg.build.task import build_task, init_weights, plain
from clusterseg.build.training import build_data
from clusterseg.commands.export import output_file, save
from clusterseg.errors import UserError

log = logging.getLogger("clusterseg")


def convert_weights(config: DictConfig, run_dir: Path) -> None:
    """Write a checkpoint that `evaluate` and `predict` read, as if `train` had ended with these weights.

    Raises:
        UserError: A setting or a file is wrong.
    """
    if config.model.init_from is None:
        raise UserError("model.init_from is not set; give the path of published weights")
    config = self_contained(config)
    source = weights_path(config.model.init_from, "model.init_from")
    output = output_file(config.output, source, "model.init_from")
    data = build_data(config)
    task = build_task(config, data.inputs)
    init_weights(config, task)
    settings = plain(config)
    del settings["output"]
    save(output, {"state_dict": task.state_dict(), "config": settings, "inputs": data.inputs.plain()})
    log.info("wrote %s", output)
