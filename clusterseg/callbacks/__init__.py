"""What happens beside the training: progress, resuming, and the report on the clusters."""

from clusterseg.callbacks.clusters import ClusterReport
from clusterseg.callbacks.progress import LineProgress, Throughput, progress
from clusterseg.callbacks.resume import LastCheckpoint, RandomStates

__all__ = ["ClusterReport", "LastCheckpoint", "LineProgress", "RandomStates", "Throughput", "progress"]
