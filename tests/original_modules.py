"""The module tree of the original SPVCNN and MinkUNet, so that PyTorch itself names their state dict."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Kernel(nn.Module):
    """A convolution's parameter, as TorchSparse 1.x and 2.x hold it."""

    def __init__(self, c_in: int, c_out: int, side: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn((c_in, c_out) if side == 1 else (side**3, c_in, c_out)))


class Net(nn.Module):
    """What holds its layers under ``net``."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(*layers)


def conv_bn_relu(c_in: int, c_out: int, side: int) -> list[nn.Module]:
    return [Kernel(c_in, c_out, side), nn.BatchNorm1d(c_out), nn.ReLU()]


def residual(c_in: int, c_out: int) -> Net:
    block = Net(*conv_bn_relu(c_in, c_out, 3), *conv_bn_relu(c_out, c_out, 3)[:2])
    block.downsample = nn.Sequential(*([] if c_in == c_out else conv_bn_relu(c_in, c_out, 1)[:2]))
    return block


class Original(nn.Module):
    """Both networks: the original MinkUNet, too, holds a point branch."""

    def __init__(self, cr: float, num_classes: int = 19) -> None:
        super().__init__()
        cs = [int(cr * c) for c in (32, 32, 64, 128, 256, 256, 128, 96, 96)]
        self.stem = nn.Sequential(*conv_bn_relu(4, cs[0], 3), *conv_bn_relu(cs[0], cs[0], 3))
        for i in range(1, 5):
            a, b = cs[i - 1], cs[i]
            setattr(self, f"stage{i}", nn.Sequential(Net(*conv_bn_relu(a, a, 2)), residual(a, b), residual(b, b)))
        for i in range(1, 5):
            a, b, skip = cs[3 + i], cs[4 + i], cs[4 - i]
            blocks = nn.Sequential(residual(b + skip, b), residual(b, b))
            setattr(self, f"up{i}", nn.ModuleList([Net(*conv_bn_relu(a, b, 2)), blocks]))
        self.classifier = nn.Sequential(nn.Linear(cs[8], num_classes))
        pairs = ((cs[0], cs[4]), (cs[4], cs[6]), (cs[6], cs[8]))
        self.point_transforms = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()) for a, b in pairs
        )


def original_weights(cr: float) -> dict[str, Tensor]:
    """The names and shapes of the original at a width multiplier, with random values."""
    torch.manual_seed(1)
    return {name: torch.rand_like(v) if v.is_floating_point() else v for name, v in Original(cr).state_dict().items()}
