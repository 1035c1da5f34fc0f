"""What happens beside the training: progress, figures, pictures, resuming, and the reports at the end."""

from clusterseg.callbacks.clusters import ClusterReport
from clusterseg.callbacks.finite import FiniteLoss
from clusterseg.callbacks.gradients import GradientNorm
from clusterseg.callbacks.pictures import BevPictures
from clusterseg.callbacks.progress import LineProgress, Throughput, progress
from clusterseg.callbacks.resume import LastCheckpoint, RandomStates
from clusterseg.callbacks.system import SystemFigures

__all__ = [
    "BevPictures",
    "ClusterReport",
    "FiniteLoss",
    "GradientNorm",
    "LastCheckpoint",
    "LineProgress",
    "RandomStates",
    "SystemFigures",
    "Throughput",
    "progress",
]
