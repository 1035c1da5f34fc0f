"""MinkUNet: the sparse U-Net without a point branch."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from clusterseg.backbone.drop_path import Rate
from clusterseg.backbone.output import BackboneOutput
from clusterseg.backbone.unet import SparseUNet
from clusterseg.backbone.widths import fixed_widths
from clusterseg.config.signatures import checked
from clusterseg.sparse import sparse_tensor, voxel_to_point


@checked("model.backbone")
class MinkUNet(SparseUNet):
    """The MinkowskiNet (Choy et al., CVPR 2019) that Tang et al. (ECCV 2020) compare with.

    The tap `bottleneck` holds the deepest voxels' features, interpolated at each voxel of the finest level;
    `decoder` holds what the classifier reads.

    Args:
        cr: Width multiplier; published are 0.5, 0.64, 1 and 1.6.
        in_channels: Features per voxel: x, y, z, remission.
        num_classes: Classes to predict.
        backend: Engine, see :mod:`clusterseg.sparse.backends`.
        depth: Residual blocks of the encoder: 2-2-2-2 for 18, 2-3-4-6 for 34.
        classifier: What it reads: the `last` level of the decoder, or the features at strides 16, 4 and 1, all three
            interpolated at each voxel (`levels`: MinkUNetBackboneV2 of mmdetection3d, MinkUNet of OpenPCSeg).
        drop_path: See :class:`SPVNAS`.

    Raises:
        UserError: A setting is wrong.

    Examples:
        >>> import torch
        >>> network = MinkUNet(cr=0.1, num_classes=5).eval()
        >>> network(torch.rand(2, 4), torch.tensor([[0, 0, 0, 0], [0, 9, 0, 0]])).logits.shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        cr: float = 1.0,
        in_channels: int = 4,
        num_classes: int = 19,
        backend: str = "native",
        depth: Literal[18, 34] = 18,
        classifier: Literal["last", "levels"] = "last",
        drop_path: Rate = 0.0,
    ) -> None:
        spec = fixed_widths(cr, depth)
        super().__init__(spec, in_channels, num_classes, backend, drop_path)
        self.cr, self.depth = cr, depth
        self.add_classifier(spec, classifier)

    def forward(self, feats: Float[Tensor, "voxels channels"], coords: Int[Tensor, "voxels 4"]) -> BackboneOutput:
        """Predict the voxels of a batch.

        Args:
            feats: (voxels, in_channels) x, y, z in metres and remission in 0..1.
            coords: (voxels, 4) distinct integers: batch, x, y, z in voxels.
        """
        x, _ = sparse_tensor(feats, coords, self.backend, self.workspace)
        *skips, y = self.encode(x)
        bottleneck = voxel_to_point(y)
        for stage in self.upsample[:2]:
            y = stage(y, skips.pop())
        half = voxel_to_point(y) if self.reads_levels else None
        for stage in self.upsample[2:]:
            y = stage(y, skips.pop())
        return self.classify(x.grid, bottleneck, half, y.feats)
