"""SPVNAS: a sparse point-voxel network built from its control file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clusterseg.backbone.blocks import LinearBlock
from clusterseg.backbone.control import ControlFile, parse_control
from clusterseg.backbone.drop_path import Rate
from clusterseg.backbone.output import BackboneOutput
from clusterseg.backbone.unet import SparseUNet
from clusterseg.gradients import accept_row_gradients
from clusterseg.sparse import SparseTensor, build_ahead, point_to_voxel, sparse_tensor, voxel_to_point

#: Strides at which points and voxels meet; at stride 1 they are the same.
MEETINGS = (16, 4)


class SPVNAS(SparseUNet):
    """Sparse point-voxel network of Tang et al., "Searching Efficient 3D Architectures with SPVConv" (ECCV 2020).

    A sparse U-Net of four stages; beside it a branch at full resolution carries the points past the voxels. The two
    meet three times: after the encoder, after half of the decoder, and before the classifier.

    Args:
        control: A control file (`net.config`), its table, or the widths and depths that one holds.
        in_channels: Features per voxel: x, y, z, remission.
        num_classes: Classes to predict.
        dropout: On the voxel features where the decoder receives the point branch.
        backend: Engine, see :mod:`clusterseg.sparse.backends`.
        classifier: What it reads: the points after the `last` meeting, or after all three (`levels`: SPVCNN of
            OpenPCSeg).
        drop_path: Probability that the last residual block is left out for a scan in training; less in those before,
            see :mod:`clusterseg.backbone.drop_path`.

    Raises:
        UserError: The control file is wrong.

    Examples:
        >>> from clusterseg.files import CONF
        >>> network = SPVNAS(CONF / "control/spvnas_small.json").eval()
        >>> coords = torch.tensor([[0, 0, 0, 0], [0, 1, 0, 0], [0, 40, 3, 2]])  # scan, x, y, z in voxels
        >>> network(torch.rand(3, 4), coords).logits.shape
        torch.Size([3, 19])
        >>> sum(weights.numel() for weights in network.parameters())
        1275779
    """

    def __init__(
        self,
        control: str | Path | Mapping[str, Any] | ControlFile,
        in_channels: int = 4,
        num_classes: int = 19,
        dropout: float = 0.3,
        backend: str = "native",
        classifier: Literal["last", "levels"] = "last",
        drop_path: Rate = 0.0,
    ) -> None:
        spec = parse_control(control)
        super().__init__(spec, in_channels, num_classes, backend, drop_path)
        self.point_transforms = point_branch(spec)
        self.dropout = nn.Dropout(dropout, inplace=True)
        self.add_classifier(spec, classifier)

    def forward(self, feats: Float[Tensor, "voxels channels"], coords: Int[Tensor, "voxels 4"]) -> BackboneOutput:
        """Predict the voxels of a batch.

        Args:
            feats: (voxels, in_channels) x, y, z in metres and remission in 0..1.
            coords: (voxels, 4) distinct integers: batch, x, y, z in voxels.
        """
        x, _ = sparse_tensor(feats, coords, self.backend, self.workspace)
        build_ahead(x.grid, MEETINGS)
        voxels = self.encode(x)
        skips, points = voxels[:-1], voxels[0].feats

        points = bottleneck = accept_row_gradients(self._fuse(voxels[-1], points, 0))
        y = point_to_voxel(points, voxels[-1]).map(self._drop)
        for stage in self.upsample[:2]:
            y = stage(y, skips.pop())
        points = half = self._fuse(y, points, 1)
        y = point_to_voxel(points, y).map(self._drop)
        for stage in self.upsample[2:]:
            y = stage(y, skips.pop())
        points = accept_row_gradients(self._fuse(y, points, 2))
        return self.classify(x.grid, bottleneck, half if self.reads_levels else None, points)

    def _fuse(self, x: SparseTensor, points: Tensor, branch: int) -> Tensor:
        """Add the voxels' features to the transformed point features."""
        moved: Tensor = self.point_transforms[branch](points)
        voxels = voxel_to_point(x)
        return voxels + moved if torch.is_grad_enabled() else moved.add_(voxels)

    def _drop(self, feats: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(feats)
        return dropped


def point_branch(spec: ControlFile) -> nn.ModuleList:
    """The three layers of the branch that carries points past the voxels."""
    widths = [spec.stem, *spec.point_transforms]
    return nn.ModuleList(LinearBlock(a, b) for a, b in itertools.pairwise(widths))
