"""Semantic segmentation of lidar scans with sparse point-voxel networks and within-class clustering.

`load` reads a checkpoint for labelling point clouds; `Reader` and `ScanDataModule` are the interface for custom data,
`Backbone` for a network, `Head` for further losses of the training.
The names listed here are imported at first use, because PyTorch takes seconds to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clusterseg.backbone import Backbone, BackboneOutput
    from clusterseg.build.model import Model, Prediction, load
    from clusterseg.cluster.base import Head, HeadOutput
    from clusterseg.data.datamodule import ScanDataModule
    from clusterseg.data.reader import Reader, Scan
    from clusterseg.errors import UserError

__version__ = "0.1.0"
__all__ = [
    "Backbone",
    "BackboneOutput",
    "Head",
    "HeadOutput",
    "Model",
    "Prediction",
    "Reader",
    "Scan",
    "ScanDataModule",
    "UserError",
    "__version__",
    "load",
]

_HOMES = {
    "Backbone": "backbone",
    "BackboneOutput": "backbone",
    "Head": "cluster",
    "HeadOutput": "cluster",
    "Model": "build.model",
    "Prediction": "build.model",
    "Reader": "data.reader",
    "Scan": "data.reader",
    "ScanDataModule": "data.datamodule",
    "UserError": "errors",
    "load": "build.model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clusterseg' has no attribute {name!r}")
    return getattr(import_module(f"clusterseg.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
