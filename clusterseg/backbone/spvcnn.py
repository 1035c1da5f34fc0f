"""SPVCNN: the hand-designed sparse point-voxel network."""

from __future__ import annotations

from typing import Literal

from clusterseg.backbone.drop_path import Rate
from clusterseg.backbone.spvnas import SPVNAS
from clusterseg.backbone.widths import fixed_widths
from clusterseg.config.signatures import checked


@checked("model.backbone")
class SPVCNN(SPVNAS):
    """SPVCNN of Tang et al., "Searching Efficient 3D Architectures with SPVConv" (ECCV 2020).

    The network of :class:`SPVNAS` in fixed widths.

    Args:
        cr: Width multiplier; published are 0.5, 0.64, 1 and 1.6.
        in_channels: Features per voxel: x, y, z, remission.
        num_classes: Classes to predict.
        dropout: On the voxel features where the decoder receives the point branch.
        backend: Engine, see :mod:`clusterseg.sparse.backends`.
        depth: Residual blocks of the encoder: 2-2-2-2 for 18, 2-3-4-6 for 34.
        classifier: What it reads: the points after the `last` meeting with the voxels, or after all three (`levels`:
            SPVCNN of OpenPCSeg).
        drop_path: See :class:`SPVNAS`.

    Raises:
        UserError: A setting is wrong.

    Examples:
        >>> import torch
        >>> network = SPVCNN(cr=0.1, num_classes=5).eval()
        >>> output = network(torch.rand(2, 4), torch.tensor([[0, 0, 0, 0], [0, 9, 0, 0]]))
        >>> output.logits.shape, output.taps["decoder"].shape[1] == network.tap_channels["decoder"]
        (torch.Size([2, 5]), True)
    """

    def __init__(
        self,
        cr: float = 1.0,
        in_channels: int = 4,
        num_classes: int = 19,
        dropout: float = 0.3,
        backend: str = "native",
        depth: Literal[18, 34] = 18,
        classifier: Literal["last", "levels"] = "last",
        drop_path: Rate = 0.0,
    ) -> None:
        super().__init__(fixed_widths(cr, depth), in_channels, num_classes, dropout, backend, classifier, drop_path)
        self.cr, self.depth = cr, depth
