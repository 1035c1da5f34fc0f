"""Widths of the hand-designed networks, MinkUNet and SPVCNN, at a width multiplier."""

from __future__ import annotations

from typing import Any, Literal

from clusterseg.backbone.control import NUM_STAGES, BlockSpec, ControlFile, StageSpec
from clusterseg.errors import UserError

#: Channels after the stem, the four stages down and the four stages up, at width multiplier 1.
CHANNELS = (32, 32, 64, 128, 256, 256, 128, 96, 96)

#: Residual blocks in each stage down, by the network's depth; each stage up has two. Those of ResNet (He et al., CVPR
#: 2016), which MinkUNet18 and MinkUNet34 are named after.
BLOCKS = {18: (2, 2, 2, 2), 34: (2, 3, 4, 6)}


def fixed_widths(cr: Any, depth: Literal[18, 34] = 18) -> ControlFile:
    """The control file of MinkUNet and SPVCNN of Tang et al. (ECCV 2020).

    Args:
        cr: Width multiplier; published are 0.5, 0.64, 1 and 1.6.
        depth: 18, the two blocks per stage of Tang et al., or 34, those of mmdetection3d and OpenPCSeg.

    Raises:
        UserError: The multiplier is no positive number, or leaves a layer without channels.
    """
    if isinstance(cr, bool) or not isinstance(cr, int | float) or not 1 <= cr * min(CHANNELS) < float("inf"):
        raise UserError(
            f"model.backbone.cr={cr!r}: expected a width multiplier of at least {1 / min(CHANNELS)}; "
            "published are 0.5, 0.64, 1.0 and 1.6"
        )
    widths = [int(cr * channels) for channels in CHANNELS]
    down = tuple(_stage(widths[i], widths[i], widths[i + 1], BLOCKS[depth][i]) for i in range(NUM_STAGES))
    up = tuple(_stage(out, out + skip, out, 2) for out, skip in zip(widths[5:], reversed(widths[:4]), strict=True))
    return ControlFile(widths[0], down, up, (widths[4], widths[6], widths[8]))


def _stage(transition: int, in_channels: int, out_channels: int, blocks: int) -> StageSpec:
    first = BlockSpec(out_channels, out_channels, project=in_channels != out_channels)
    others = (BlockSpec(out_channels, out_channels, project=False),) * (blocks - 1)
    return StageSpec(transition, (first, *others))
