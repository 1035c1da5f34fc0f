"""Small control tables of the SPVNAS family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

OUTPUTS = (8, 8, 12, 16, 20, 16, 16, 12, 12)


def control_table(depths: Sequence[int] = (2, 2, 2, 2, 2, 1, 2, 1), project_all: bool = False) -> dict[str, Any]:
    """A table with the given blocks per stage; only the first block of a stage projects, unless ``project_all``."""
    table: dict[str, Any] = {"output_channels": list(OUTPUTS)}
    for i, (out, depth) in enumerate(zip(OUTPUTS[1:], depths, strict=True)):
        stage = f"{'downsample' if i < 4 else 'upsample'}.{i % 4}"
        table |= {f"{stage}.transition": 8 + 2 * i, f"{stage}.feature": depth}
        for j in range(depth):
            block = f"{stage}.feature.layers.{j}"
            table |= {f"{block}.net.layers.0": 6 + j, f"{block}.net.layers.1": out}
            if j == 0 or project_all:
                table[f"{block}.downsample"] = out
    widths = {f"point_transforms.{i}": OUTPUTS[stage] for i, stage in enumerate((4, 6, 8))}
    return table | widths
