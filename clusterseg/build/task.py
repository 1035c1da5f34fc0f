"""Build the network and the task of a configuration."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from clusterseg.backbone import Backbone
from clusterseg.backbone.pretrained import load_pretrained
from clusterseg.data.inputs import Inputs
from clusterseg.errors import UserError, error_line
from clusterseg.sparse import BatchNorm
from clusterseg.task import SegmentationTask

log = logging.getLogger("clusterseg")


def build_backbone(config: DictConfig, in_channels: int, num_classes: int) -> Backbone:
    """Build the network of a configuration.

    Raises:
        UserError: A setting is wrong.
    """
    with settings_explained():
        backbone = instantiate(config.model.backbone, in_channels=in_channels, num_classes=num_classes, _convert_="all")
    if not isinstance(backbone, Backbone):
        raise UserError(
            f"model.backbone._target_={config.model.backbone.get('_target_')}: expected a clusterseg.backbone.Backbone"
        )
    return backbone


def build_task(config: DictConfig, inputs: Inputs) -> SegmentationTask:
    """Build the task of a configuration: backbone, losses, optimiser, and the cluster head if there is one.

    Raises:
        UserError: A setting is wrong.
    """
    class_names = inputs.label_map.class_names
    backbone = build_backbone(config, len(inputs.features), len(class_names))
    cluster = None
    with settings_explained():
        if config.model.cluster is not None:
            make_head = instantiate(config.model.cluster, _convert_="all")
            tap = config.model.cluster.tap
            if tap not in backbone.tap_channels:
                raise UserError(f"model.cluster.tap={tap}: this backbone offers {', '.join(backbone.tap_channels)}")
            cluster = make_head(in_channels=backbone.tap_channels[tap], class_names=class_names)
        optim = instantiate(config.optim, _convert_="all")
        losses = instantiate(config.loss, _convert_="all")
    task = SegmentationTask(
        backbone=backbone,
        class_names=class_names,
        losses=losses,
        optimizer=optim["optimizer"],
        scheduler=optim["scheduler"],
        cluster=cluster,
        config=plain(config),
        inputs=inputs.plain(),
    )
    task.build_optimizer(total_steps=1)  # check its settings before data is read
    return task


@contextmanager
def settings_explained() -> Iterator[None]:
    """Turn Hydra's errors about a setting into one message; bugs in the built objects pass unchanged.

    Raises:
        UserError: A setting is wrong.
    """
    try:
        yield
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError) or _is_bug(cause):
            raise cause from None
        key = str(error).rpartition("full_key: ")[2]
        raise UserError(f"{key}: {error_line(cause)}; change this setting of {key}") from error


def _is_bug(error: BaseException) -> bool:
    """Whether an error is a bug and not another library's rejection of a setting; clusterseg raises `UserError`."""
    refusals = (InstantiationException, TypeError, ValueError, ImportError, MisconfigurationException)
    frames = list(traceback.walk_tb(error.__traceback__))
    inside = bool(frames) and frames[-1][0].f_globals.get("__name__", "").startswith("clusterseg.")
    return not isinstance(error, refusals) or inside


def sync_batch_norm(task: SegmentationTask, synced: bool) -> None:
    """Set batch normalisation over the voxels of all ranks or of each rank; the head always uses all ranks."""
    for module in task.backbone.modules():
        if isinstance(module, BatchNorm):
            module.synced = synced


def init_weights(config: DictConfig, task: SegmentationTask) -> None:
    """Load the weights of `model.init_from`, if it is set, and log what matched.

    Raises:
        UserError: The file is wrong or does not fit.
    """
    path = config.model.init_from
    if path is None:
        return
    proj = None if task.cluster is None else task.cluster.proj
    strict = config.model.init_strict
    report = load_pretrained(str(path), task.backbone, proj, strict, task.class_names)
    rank_zero_only(log.info)("weights of %s: %s", path, report)


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain dictionaries with references resolved."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
