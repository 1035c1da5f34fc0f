"""Callbacks of the training: progress, resource figures, pictures, resuming, and the reports at the end."""

from clusterseg.callbacks.cluster_report import ClusterReport
from clusterseg.callbacks.ema import AveragedWeights
from clusterseg.callbacks.finite import FiniteLoss
from clusterseg.callbacks.gradient_norm import GradientNorm
from clusterseg.callbacks.mode_recall import ModeRecall
from clusterseg.callbacks.moved import MovedRun
from clusterseg.callbacks.pictures import BevPictures
from clusterseg.callbacks.position import EpochPosition
from clusterseg.callbacks.preemption import Preempted, Preemption
from clusterseg.callbacks.progress import LineProgress, Throughput, progress
from clusterseg.callbacks.pruning import Pruning
from clusterseg.callbacks.resume import LastCheckpoint, RandomStates
from clusterseg.callbacks.run_outcome import RunOutcome
from clusterseg.callbacks.run_page import Dashboard
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
    "ModeRecall",
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
