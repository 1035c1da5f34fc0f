"""SPVNAS: a sparse point-voxel network built from its control file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clusterseg.backbone.blocks import Classifier, ConvBlock, LinearBlock, ResidualBlock, apply_layers
from clusterseg.backbone.control import StageSpec, parse_control
from clusterseg.backbone.output import Backbone, BackboneOutput
from clusterseg.sparse import BatchNorm, Conv3d, SparseTensor, Workspace, point_to_voxel, sparse_tensor, voxel_to_point


class SPVNAS(Backbone):
    """Sparse point-voxel network of Tang et al., "Searching Efficient 3D Architectures with SPVConv" (ECCV 2020).

    A sparse U-Net of four stages; beside it a branch at full resolution carries the points past the voxels. The two
    meet three times: after the encoder, after half of the decoder, and before the classifier.

    Args:
        control: A control file (``net.config``) or its table.
        in_channels: Features per voxel: x, y, z, remission.
        num_classes: Classes to predict.
        dropout: On the voxel features where the decoder receives the point branch.
        backend: Engine, see :mod:`clusterseg.sparse.backends`.

    Raises:
        UserError: The control file is wrong.
    """

    def __init__(
        self,
        control: str | Path | Mapping[str, Any],
        in_channels: int = 4,
        num_classes: int = 19,
        dropout: float = 0.3,
        backend: str = "native",
    ) -> None:
        super().__init__()
        spec = parse_control(control)
        self.backend, self.workspace = backend, Workspace()
        self.num_classes = num_classes
        skips = [spec.stem, *(stage.out_channels for stage in spec.downsample)]
        self.stem = nn.Sequential(
            Conv3d(in_channels, spec.stem),
            BatchNorm(spec.stem),
            nn.ReLU(inplace=True),
            Conv3d(spec.stem, spec.stem),
            BatchNorm(spec.stem),
            nn.ReLU(inplace=True),
        )
        self.downsample = nn.ModuleList(
            _Stage(channels, 0, stage, transposed=False)
            for channels, stage in zip(skips, spec.downsample, strict=False)
        )
        below = [skips[-1], *(stage.out_channels for stage in spec.upsample)]
        self.upsample = nn.ModuleList(
            _Stage(channels, skip, stage, transposed=True)
            for channels, skip, stage in zip(below, reversed(skips[:-1]), spec.upsample, strict=False)
        )
        widths = [spec.stem, *spec.point_transforms]
        self.point_transforms = nn.ModuleList(LinearBlock(a, b) for a, b in itertools.pairwise(widths))
        self.dropout = nn.Dropout(dropout, inplace=True)
        self.classifier = Classifier(widths[-1], num_classes)
        self.tap_channels = {"bottleneck": widths[1], "decoder": widths[-1]}

    def forward(self, feats: Float[Tensor, "voxels channels"], coords: Int[Tensor, "voxels 4"]) -> BackboneOutput:
        """Predict the voxels of a batch.

        Args:
            feats: (voxels, in_channels) x, y, z in metres and remission in 0..1.
            coords: (voxels, 4) distinct integers: batch, x, y, z in voxels.
        """
        x, rows = sparse_tensor(feats, coords, self.backend, self.workspace)
        voxels = [apply_layers(self.stem, x)]
        points = voxels[0].feats
        for stage in self.downsample:
            voxels.append(stage(voxels[-1]))
        skips = voxels[:-1]

        points = bottleneck = self._fuse(voxels[-1], points, 0)
        y = point_to_voxel(points, voxels[-1]).map(self._drop)
        for stage in self.upsample[:2]:
            y = stage(y, skips.pop())
        points = self._fuse(y, points, 1)
        y = point_to_voxel(points, y).map(self._drop)
        for stage in self.upsample[2:]:
            y = stage(y, skips.pop())
        points = self._fuse(y, points, 2)
        return BackboneOutput(self.classifier(points)[rows], {"bottleneck": bottleneck[rows], "decoder": points[rows]})

    def _fuse(self, x: SparseTensor, points: Tensor, branch: int) -> Tensor:
        """Add the voxels' features to the transformed point features."""
        fused: Tensor = voxel_to_point(x) + self.point_transforms[branch](points)
        return fused

    def _drop(self, feats: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(feats)
        return dropped


class _Stage(nn.Module):
    """A transition to the next grid, then residual blocks; on the way up the skip is appended in between."""

    def __init__(self, in_channels: int, skip_channels: int, spec: StageSpec, transposed: bool) -> None:
        super().__init__()
        self.transition = ConvBlock(in_channels, spec.transition, kernel_size=2, stride=2, transposed=transposed)
        widths = [spec.transition + skip_channels, *(block.out_channels for block in spec.blocks)]
        self.feature = nn.Sequential(
            *(
                ResidualBlock(channels, block.mid_channels, block.out_channels, block.project)
                for channels, block in zip(widths, spec.blocks, strict=False)
            )
        )

    def forward(self, x: SparseTensor, skip: SparseTensor | None = None) -> SparseTensor:
        x = self.transition(x)
        if skip is not None:
            x = x.with_feats(torch.cat([x.feats, skip.feats], 1))
        out: SparseTensor = self.feature(x)
        return out
