"""The search space of SPVNAS networks: random valid control files."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clusterseg.backbone.control import NUM_STAGES, ControlFile, StageSpec, parse_control


@dataclass(frozen=True)
class SearchSpace:
    """Ranges of widths and depths; the defaults are the bounds in the code of Tang et al. (ECCV 2020).

    Attributes:
        lowest: Fewest channels after the stem and after each stage, down then up.
        highest: Most channels there; a published classifier takes 128.
        ratios: Bounds of the transitions' and the blocks' inner channels, as shares of what `highest` allows there.
        depths: Bounds of the residual blocks in a stage.
        step: Channels are multiples of it, as those of the published networks.
        least: Fewest channels of any layer, whatever its ratio.
    """

    lowest: tuple[int, ...] = (32, 16, 32, 64, 128, 128, 64, 48, 48)
    highest: tuple[int, ...] = (32, 48, 96, 192, 384, 384, 192, 128, 128)
    ratios: tuple[float, float] = (0.125, 1.0)
    depths: tuple[int, int] = (1, 2)
    step: int = 4
    least: int = 16

    def sample(self, seed: int) -> dict[str, Any]:
        """A random control table; each entry uniform within its bounds."""
        rng = random.Random(seed)
        outputs = [self._rounded(rng.randint(low, high)) for low, high in zip(self.lowest, self.highest, strict=True)]
        table: dict[str, Any] = {"output_channels": outputs}
        for i, out in enumerate(outputs[1:]):
            name = f"{'downsample' if i < NUM_STAGES else 'upsample'}.{i % NUM_STAGES}"
            depth = rng.randint(*self.depths)
            table[f"{name}.transition"] = self._share(rng, self._transition_width(i))
            table[f"{name}.feature"] = depth
            for j in range(depth):
                block = f"{name}.feature.layers.{j}"
                table[f"{block}.net"] = 2
                table[f"{block}.net.layers.0"] = self._share(rng, self.highest[i + 1])
                table[f"{block}.net.layers.1"] = out
                if j == 0:
                    table[f"{block}.downsample"] = out
        for branch, stage in enumerate((NUM_STAGES, NUM_STAGES + 2, 2 * NUM_STAGES)):
            table[f"point_transforms.{branch}"] = outputs[stage]
        return table

    def __contains__(self, control: Mapping[str, Any] | ControlFile) -> bool:
        """Whether the control file lies within the bounds, apart from `step`."""
        spec = parse_control(control)
        stages = (*spec.downsample, *spec.upsample)
        widths = (spec.stem, *(stage.out_channels for stage in stages))
        inside = all(a <= w <= b for a, w, b in zip(self.lowest, widths, self.highest, strict=True))
        return inside and all(self._holds(i, stage) for i, stage in enumerate(stages))

    def _holds(self, i: int, stage: StageSpec) -> bool:
        inner = [(stage.transition, self._transition_width(i))]
        inner += [(block.mid_channels, self.highest[i + 1]) for block in stage.blocks]
        least, most = self.depths
        return least <= len(stage.blocks) <= most and all(
            self._rounded(self.ratios[0] * full) <= width <= max(self.least, self.ratios[1] * full)
            for width, full in inner
        )

    def _transition_width(self, i: int) -> int:
        """Maximum channels of a transition: those of the stage above (down) or of its own stage (up)."""
        return self.highest[i] if i < NUM_STAGES else self.highest[i + 1]

    def _share(self, rng: random.Random, full: int) -> int:
        return self._rounded(rng.uniform(*self.ratios) * full)

    def _rounded(self, channels: float) -> int:
        return max(self.least, int(channels) // self.step * self.step)
