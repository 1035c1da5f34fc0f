"""Control files of the SPVNAS family: the flat table of widths and depths that a search produced."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusterseg.errors import UserError

#: Encoder stages, and as many decoder stages.
NUM_STAGES = 4


@dataclass(frozen=True)
class BlockSpec:
    """Widths of one residual block."""

    mid_channels: int
    out_channels: int
    project: bool


@dataclass(frozen=True)
class StageSpec:
    """One stage: the transition to its grid, then residual blocks."""

    transition: int
    blocks: tuple[BlockSpec, ...]

    @property
    def out_channels(self) -> int:
        """Channels after the last block."""
        return self.blocks[-1].out_channels


@dataclass(frozen=True)
class ControlFile:
    """Widths and depths of an SPVNAS network.

    Attributes:
        stem: Channels of the stem.
        downsample: The encoder's stages.
        upsample: The decoder's stages.
        point_transforms: Channels of the point branch after the encoder, the half and the whole decoder.
    """

    stem: int
    downsample: tuple[StageSpec, ...]
    upsample: tuple[StageSpec, ...]
    point_transforms: tuple[int, int, int]


def read_control(control: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Read the table of a control file (`net.config`, JSON), or return a given table.

    Raises:
        UserError: The file is missing or is not a JSON object.
    """
    if isinstance(control, Mapping):
        return {str(key): value for key, value in control.items()}
    path = Path(control)
    try:
        table = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(
            f"control file {path} does not exist: give model.backbone.control a path to a net.config"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"control file {path} cannot be read as JSON ({error}): expected a flat table") from None
    if not isinstance(table, dict):
        raise UserError(f"control file {path} holds a {type(table).__name__}, expected an object of layer: channels")
    return table


def parse_control(control: str | Path | Mapping[str, Any] | ControlFile) -> ControlFile:
    """Read and check a control file; return a parsed one unchanged.

    Raises:
        UserError: An entry is missing, no positive integer, or contradicts another one.
    """
    if isinstance(control, ControlFile):
        return control
    table = read_control(control)
    where = "control table" if isinstance(control, Mapping) else f"control file {control}"
    outputs = table.get("output_channels")
    if not isinstance(outputs, list | tuple) or len(outputs) != 1 + 2 * NUM_STAGES:
        raise UserError(f"{where}: output_channels is {outputs!r}, expected {1 + 2 * NUM_STAGES} channel counts")
    widths = [_positive(width, f"output_channels[{i}]", where) for i, width in enumerate(outputs)]
    down = tuple(_stage(table, f"downsample.{i}", where) for i in range(NUM_STAGES))
    up = tuple(_stage(table, f"upsample.{i}", where) for i in range(NUM_STAGES))
    points = tuple(_entry(table, f"point_transforms.{i}", where) for i in range(3))
    for i, (stage, expected) in enumerate(zip(down + up, widths[1:], strict=True)):
        if stage.out_channels != expected:
            raise UserError(
                f"{where}: stage {i} ends with {stage.out_channels} channels, output_channels says {expected}"
            )
    for width, stage in zip(points, (down[3], up[1], up[3]), strict=True):
        if width != stage.out_channels:
            raise UserError(f"{where}: a point transform has {width} channels, its stage {stage.out_channels}")
    return ControlFile(widths[0], down, up, (points[0], points[1], points[2]))


def _entry(table: Mapping[str, Any], key: str, where: str) -> int:
    return _positive(table.get(key), key, where)


def _positive(value: Any, key: str, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"{where}: {key} is {value!r}, expected a positive integer")
    return value


def _stage(table: Mapping[str, Any], name: str, where: str) -> StageSpec:
    blocks = []
    channels = None
    for j in range(_entry(table, f"{name}.feature", where)):
        layers = f"{name}.feature.layers.{j}"
        mid = _entry(table, f"{layers}.net.layers.0", where)
        out = _entry(table, f"{layers}.net.layers.1", where)
        project = f"{layers}.downsample" in table
        if project and (shortcut := _entry(table, f"{layers}.downsample", where)) != out:
            raise UserError(f"{where}: {layers}.downsample has {shortcut} channels, {layers}.net.layers.1 says {out}")
        if not project and out != channels:
            raise UserError(f"{where}: {layers} goes from {channels} to {out} channels without a .downsample entry")
        blocks.append(BlockSpec(mid, out, project))
        channels = out
    return StageSpec(_entry(table, f"{name}.transition", where), tuple(blocks))
