"""Within-class clustering: the method itself.

`head` runs the training step; `sampling`, `sinkhorn` and `contrast` are its pure functions, `centers` and `bank`
its state.
"""

from clusterseg.cluster.head import ClusterHead, ClusterOutput

__all__ = ["ClusterHead", "ClusterOutput"]
