"""Within-class clustering: the method itself.

`head` tells the step in order; `sampling`, `sinkhorn` and `contrast` are its pure parts, `centers` and `bank`
its state.
"""

from clusterseg.cluster.head import ClusterHead, ClusterOutput

__all__ = ["ClusterHead", "ClusterOutput"]
