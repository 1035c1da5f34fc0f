"""MinkUNet: the sparse U-Net without a point branch."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from clusterseg.backbone.output import BackboneOutput
from clusterseg.backbone.unet import SparseUNet
from clusterseg.backbone.widths import fixed_widths
from clusterseg.sparse import sparse_tensor, voxel_to_point


class MinkUNet(SparseUNet):
    """The MinkowskiNet (Choy et al., CVPR 2019) that Tang et al. (ECCV 2020) compare with.

    The tap ``bottleneck`` holds the deepest voxels' features, interpolated at each voxel of the finest level.

    Args:
        cr: Width multiplier; published are 0.5, 0.64 and 1.
        in_channels: Features per voxel: x, y, z, remission.
        num_classes: Classes to predict.
        backend: Engine, see :mod:`clusterseg.sparse.backends`.

    Raises:
        UserError: The multiplier is wrong.
    """

    def __init__(self, cr: float = 1.0, in_channels: int = 4, num_classes: int = 19, backend: str = "native") -> None:
        spec = fixed_widths(cr)
        super().__init__(spec, in_channels, num_classes, backend)
        self.cr = cr
        self.add_classifier(spec.upsample[-1].out_channels)
        self.tap_channels = {
            "bottleneck": spec.downsample[-1].out_channels,
            "decoder": spec.upsample[-1].out_channels,
        }

    def forward(self, feats: Float[Tensor, "voxels channels"], coords: Int[Tensor, "voxels 4"]) -> BackboneOutput:
        """Predict the voxels of a batch.

        Args:
            feats: (voxels, in_channels) x, y, z in metres and remission in 0..1.
            coords: (voxels, 4) distinct integers: batch, x, y, z in voxels.
        """
        x, _ = sparse_tensor(feats, coords, self.backend, self.workspace)
        *skips, y = self.encode(x)
        bottleneck = voxel_to_point(y)
        for stage in self.upsample:
            y = stage(y, skips.pop())
        given = x.grid.in_given_order
        taps = {"bottleneck": given(bottleneck), "decoder": given(y.feats)}
        return BackboneOutput(given(self.classifier(y.feats)), taps)
