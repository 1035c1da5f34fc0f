"""Within-class clustering: the method itself.

`head` runs the training step; `sampling`, `sinkhorn`, `assignment`, `contrast` and `terms` are its pure functions,
`centers` and `bank` its state. `base` is the interface of any head.
"""

from clusterseg.cluster.base import Head, HeadOutput
from clusterseg.cluster.head import ClusterHead

__all__ = ["ClusterHead", "Head", "HeadOutput"]
