"""The sparse U-Net that all three backbones are built around: a stem, four stages down, four stages up."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clusterseg.backbone.blocks import Classifier, ConvBlock, ResidualBlock, apply_layers
from clusterseg.backbone.control import ControlFile, StageSpec
from clusterseg.backbone.drop_path import DropPath, spread_rates
from clusterseg.backbone.output import Backbone, BackboneOutput
from clusterseg.sparse import BatchNorm, Conv3d, Grid, SparseTensor, Workspace
from clusterseg.sparse.backends import get_backend


class SparseUNet(Backbone):
    """Stem and stages in the widths of a control file; what happens between them is the subclass's.

    Args:
        spec: Widths and depths.
        in_channels: Features per voxel.
        num_classes: Classes to predict.
        backend: Engine, see :mod:`clusterseg.sparse.backends`.
        drop_path: See :class:`SPVNAS`.

    Raises:
        UserError: There is no such engine here, or the rate is out of range.
    """

    def __init__(
        self, spec: ControlFile, in_channels: int, num_classes: int, backend: str, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        get_backend(backend)
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
            Stage(channels, 0, stage, transposed=False) for channels, stage in zip(skips, spec.downsample, strict=False)
        )
        below = [skips[-1], *(stage.out_channels for stage in spec.upsample)]
        self.upsample = nn.ModuleList(
            Stage(channels, skip, stage, transposed=True)
            for channels, skip, stage in zip(below, reversed(skips[:-1]), spec.upsample, strict=False)
        )
        spread_rates([layer for layer in self.modules() if isinstance(layer, DropPath)], drop_path)

    def encode(self, x: SparseTensor) -> list[SparseTensor]:
        """The voxels after the stem and after each stage down, strides 1, 2, 4, 8, 16."""
        x.grid.build(len(self.downsample) + 1)
        voxels = [apply_layers(self.stem, x)]
        for stage in self.downsample:
            voxels.append(stage(voxels[-1]))
        return voxels

    def add_classifier(self, spec: ControlFile, classifier: str) -> None:
        """Add the last layer, and the taps with it; its place in the state dict is after all others.

        Args:
            spec: Widths and depths.
            classifier: `last`, to read the finest level, or `levels`, to read all three of `classify`.
        """
        levels = spec.point_transforms
        self.reads_levels = classifier == "levels"
        channels = sum(levels) if self.reads_levels else levels[-1]
        self.classifier = Classifier(channels, self.num_classes)
        self.tap_channels = {"bottleneck": levels[0], "decoder": channels}

    def classify(self, grid: Grid, deepest: Tensor, half: Tensor | None, finest: Tensor) -> BackboneOutput:
        """The output, from features at the points of the finest level.

        Args:
            grid: The grid of the batch.
            deepest: After the encoder.
            half: After half of the decoder; None where only the finest level is read.
            finest: After the decoder.
        """
        read = finest if half is None else torch.cat([deepest, half, finest], 1)
        given = grid.in_given_order
        taps = {"bottleneck": given(deepest), "decoder": given(read)}
        return BackboneOutput(given(self.classifier(read)), taps)


class Stage(nn.Module):
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
        """Run the stage."""
        x = self.transition(x)
        if skip is not None:
            x = x.with_feats(torch.cat([x.feats, skip.feats], 1))
        out: SparseTensor = self.feature(x)
        return out
