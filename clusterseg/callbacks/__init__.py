"""What happens beside the training: progress, figures, pictures, resuming, and the reports at the end."""

from clusterseg.callbacks.clusters import ClusterReport
from clusterseg.callbacks.dashboard import Dashboard
from clusterseg.callbacks.ema import AveragedWeights
from clusterseg.callbacks.finite import FiniteLoss
from clusterseg.callbacks.gradients import GradientNorm
from clusterseg.callbacks.moved import MovedRun
from clusterseg.callbacks.outcome import RunOutcome
from clusterseg.callbacks.pictures import BevPictures
from clusterseg.callbacks.position import EpochPosition
from clusterseg.callbacks.preemption import Preempted, Preemption
from clusterseg.callbacks.progress import LineProgress, Throughput, progress
from clusterseg.callbacks.pruning import Pruning
from clusterseg.callbacks.resume import LastCheckpoint, RandomStates
from clusterseg.callbacks.system import SystemFigures

__all__ = [
    "AveragedWeights",
    "BevPictures",
    "ClusterReport",
    "Dashboard",
    "EpochPosition",
    "FiniteLoss",
    "GradientNorm",
    "LastCheckpoint",
    "LineProgress",
    "MovedRun",
    "Preempted",
    "Preemption",
    "Pruning",
    "RandomStates",
    "RunOutcome",
    "SystemFigures",
    "Throughput",
    "progress",
]
