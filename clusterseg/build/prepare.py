"""Check a configuration and make it self-contained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from clusterseg.backbone.control import read_control
from clusterseg.backbone.shipped import is_shipped
from clusterseg.build.refusals import check
from clusterseg.files import CONF


def prepare(config: DictConfig) -> DictConfig:
    """Return the configuration of a training: checked, self-contained, frozen.

    Raises:
        UserError: A setting is wrong.
    """
    check(config)
    return self_contained(config)


def self_contained(config: DictConfig) -> DictConfig:
    """Return a frozen copy in which the control file is replaced by its table and paths are absolute.

    Raises:
        UserError: The control file is missing or malformed.
    """
    config = config.copy()
    with open_dict(config):
        inline_control(config)
        readers = ((node, "root") for node in own_nodes(config.data))
        for node, key in ((config.data, "root"), *readers, (config.model, "init_from"), (config, "ckpt")):
            value = node.get(key)
            if value is not None and value not in ("last", "auto") and not is_shipped(value):
                node[key] = str(Path(str(value)).expanduser().absolute())
    OmegaConf.set_readonly(config, True)
    return config


def own_nodes(config: DictConfig) -> Iterator[DictConfig]:
    """Yield what classes of this package are built of, at any depth: the readers of a mixture, for one."""
    for key in config:
        value = None if OmegaConf.is_missing(config, key) else config[key]
        if isinstance(value, DictConfig):
            if str(value.get("_target_", "")).startswith("clusterseg."):
                yield value
            yield from own_nodes(value)


def inline_control(config: DictConfig) -> None:
    """Replace the name or the path of a control file by its table.

    Raises:
        UserError: The file is missing or malformed.
    """
    control = config.model.backbone.get("control")
    if isinstance(control, str):
        shipped = CONF / "control" / f"{control}.json"
        with open_dict(config):
            config.model.backbone.control = read_control(shipped if shipped.is_file() else Path(control).expanduser())
