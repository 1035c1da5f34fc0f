"""SPVCNN: the hand-designed sparse point-voxel network."""

from __future__ import annotations

from clusterseg.backbone.spvnas import SPVNAS
from clusterseg.backbone.widths import fixed_widths


class SPVCNN(SPVNAS):
    """SPVCNN of Tang et al., "Searching Efficient 3D Architectures with SPVConv" (ECCV 2020).

    The network of :class:`SPVNAS` in fixed widths.

    Args:
        cr: Width multiplier; published are 0.5, 0.64 and 1.
        in_channels: Features per voxel: x, y, z, remission.
        num_classes: Classes to predict.
        dropout: On the voxel features where the decoder receives the point branch.
        backend: Engine, see :mod:`clusterseg.sparse.backends`.

    Raises:
        UserError: The multiplier is wrong.
    """

    def __init__(
        self,
        cr: float = 1.0,
        in_channels: int = 4,
        num_classes: int = 19,
        dropout: float = 0.3,
        backend: str = "native",
    ) -> None:
        super().__init__(fixed_widths(cr), in_channels, num_classes, dropout, backend)
