"""Widths of the hand-designed networks, MinkUNet and SPVCNN, at a width multiplier."""

from __future__ import annotations

from typing import Any

from clusterseg.backbone.control import NUM_STAGES, BlockSpec, ControlFile, StageSpec
from clusterseg.errors import UserError

#: Channels after the stem, the four stages down and the four stages up, at width multiplier 1.
CHANNELS = (32, 32, 64, 128, 256, 256, 128, 96, 96)


def fixed_widths(cr: Any) -> ControlFile:
    """The control file of MinkUNet and SPVCNN of Tang et al. (ECCV 2020), two residual blocks in each stage.

    Args:
        cr: Width multiplier; published are 0.5, 0.64 and 1.

    Raises:
        UserError: The multiplier is no positive number, or leaves a layer without channels.
    """
    if isinstance(cr, bool) or not isinstance(cr, int | float) or not 1 <= cr * min(CHANNELS) < float("inf"):
        raise UserError(
            f"model.backbone.cr={cr!r}: expected a width multiplier of at least {1 / min(CHANNELS)}; "
            "published are 0.5, 0.64 and 1.0"
        )
    widths = [int(cr * channels) for channels in CHANNELS]
    down = tuple(_stage(widths[i], widths[i], widths[i + 1]) for i in range(NUM_STAGES))
    up = tuple(_stage(out, out + skip, out) for out, skip in zip(widths[5:], reversed(widths[:4]), strict=True))
    return ControlFile(widths[0], down, up, (widths[4], widths[6], widths[8]))


def _stage(transition: int, in_channels: int, out_channels: int) -> StageSpec:
    first = BlockSpec(out_channels, out_channels, project=in_channels != out_channels)
    return StageSpec(transition, (first, BlockSpec(out_channels, out_channels, project=False)))
