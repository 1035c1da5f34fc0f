"""Building blocks shared by all three backbones; module names follow published weights."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from clusterseg.backbone.drop_path import DropPath
from clusterseg.sparse import BatchNorm, Conv3d, SparseTensor


def apply_layers(layers: nn.Sequential, x: SparseTensor) -> SparseTensor:
    """Run convolutions on the tensor and other layers on its features.

    A ReLU is taken together with the BatchNorm before it, and without gradients both with the convolution.
    """
    left = list(layers)
    while left:
        layer = left.pop(0)
        folded = isinstance(layer, Conv3d) and bool(left) and isinstance(left[0], BatchNorm) and left[0].foldable
        norm = left.pop(0) if folded else layer
        relu = isinstance(norm, BatchNorm) and bool(left) and isinstance(left[0], nn.ReLU)
        left = left[relu:]
        if folded:
            x = layer(x, norm, relu)
        elif relu:
            x = x.with_feats(layer(x.feats, relu=True))
        else:
            x = layer(x) if isinstance(layer, Conv3d) else x.map(layer)
    return x


class ConvBlock(nn.Module):
    """Conv3d, BatchNorm and, unless `act` is off, ReLU."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        transposed: bool = False,
        act: bool = True,
    ) -> None:
        super().__init__()
        layers: list[tuple[str, nn.Module]] = [
            ("conv", Conv3d(in_channels, out_channels, kernel_size, stride, transposed)),
            ("bn", BatchNorm(out_channels)),
        ]
        if act:
            layers.append(("act", nn.ReLU(inplace=True)))
        self.net = nn.Sequential(OrderedDict(layers))

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Run the block."""
        return apply_layers(self.net, x)


class ResidualBlock(nn.Module):
    """ReLU(conv-bn-relu-conv-bn(x) + shortcut(x)), the shortcut being the identity or a pointwise conv-bn.

    `drop_path` may leave the convolutions' branch out in training.

    Args:
        in_channels: Channels of the input.
        mid_channels: Channels between the two convolutions.
        out_channels: Channels of the output.
        project: Whether the shortcut is a convolution; it must be where input and output channels differ.
    """

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, project: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(ConvBlock(in_channels, mid_channels), ConvBlock(mid_channels, out_channels, act=False))
        self.downsample = ConvBlock(in_channels, out_channels, kernel_size=1, act=False) if project else None
        self.drop_path = DropPath()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Run the block."""
        shortcut = x if self.downsample is None else self.downsample(x)
        # In place: a BatchNorm's gradient does not need its output.
        return self.drop_path(self.net(x)).map(lambda feats: self.act(feats.add_(shortcut.feats)))


class LinearBlock(nn.Module):
    """Linear, BatchNorm, ReLU over point features."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            OrderedDict(
                conv=nn.Linear(in_channels, out_channels),
                bn=BatchNorm(out_channels),
                act=nn.ReLU(inplace=True),
            )
        )

    def forward(self, feats: Tensor) -> Tensor:
        """Run the block on (points, channels)."""
        conv, norm, _ = self.net
        out: Tensor = norm(conv(feats), relu=True)
        return out


class Classifier(nn.Module):
    """The linear layer from point features to class logits."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, feats: Tensor) -> Tensor:
        """(points, channels) to (points, classes)."""
        out: Tensor = self.linear(feats)
        return out
