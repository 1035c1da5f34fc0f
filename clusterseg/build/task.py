"""Build the network and the task of a configuration."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from clusterseg.backbone import Backbone
from clusterseg.backbone.pretrained import load_pretrained
from clusterseg.cluster import ClusterHead, Head
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
    """Build the task of a configuration: backbone, losses, optimiser, and the head if there is one.

    Raises:
        UserError: A setting is wrong.
    """
    class_names = inputs.label_map.class_names
    backbone = build_backbone(config, len(inputs.features), len(class_names))
    cluster = build_head(config, backbone, class_names)
    with settings_explained():
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


def build_head(config: DictConfig, backbone: Backbone, class_names: Sequence[str]) -> Head | None:
    """Build the head of a configuration, or None.

    Raises:
        UserError: A setting is wrong, or the network offers no such features.
    """
    settings = config.model.cluster
    if settings is None:
        return None
    tap = settings.get("tap")
    if tap not in backbone.tap_channels:
        raise UserError(f"model.cluster.tap={tap}: this backbone offers {', '.join(backbone.tap_channels)}")
    with settings_explained():
        sizes = {"in_channels": backbone.tap_channels[tap], "class_names": class_names}
        head = instantiate(settings, _partial_=True, _convert_="all")(**sizes)
    if not isinstance(head, Head):
        raise UserError(f"model.cluster._target_={settings.get('_target_')}: expected a clusterseg.Head")
    head.tap = tap
    return head


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
    proj = task.cluster.proj if isinstance(task.cluster, ClusterHead) else None
    strict = config.model.init_strict
    report = load_pretrained(str(path), task.backbone, proj, strict, task.class_names)
    rank_zero_only(log.info)("weights of %s: %s", path, report)


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a configuration as plain dictionaries with references resolved."""
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
