"""torch-pointcloud: SPVCNN of mit-han-lab/spvnas under its own names, in safetensors without a wrapper."""

from __future__ import annotations

from collections.abc import Mapping

from clusterseg.backbone.foreign.project import Project

#: Layers of a convolution with its normalisation, and of a residual block.
UNIT = {"conv.": "0.", "norm.module.": "1."}
BLOCK = {
    "conv1.": "net.0.",
    "norm1.module.": "net.1.",
    "conv2.": "net.3.",
    "norm2.module.": "net.4.",
    "conv_skip.": "downsample.0.",
    "norm_skip.module.": "downsample.1.",
}
#: Where the point branch meets the voxels.
FUSIONS = ("encoder.block3", "decoder.block1", "decoder.block3")
MOST_BLOCKS = 6


def _under(own: str, original: str, layers: Mapping[str, str]) -> dict[str, str]:
    return {own + layer: original + place for layer, place in layers.items()}


def _prefixes() -> dict[str, str]:
    table = {"head.": "classifier.0."}
    table |= _under("stem.0.", "stem.", UNIT) | _under("stem.1.", "stem.", {"conv.": "3.", "norm.module.": "4."})
    for i in range(4):
        down, up = f"stage{i + 1}.", f"up{i + 1}."
        table |= _under(f"encoder.block{i}.downsample.", f"{down}0.net.", UNIT)
        table |= _under(f"decoder.block{i}.upsample.conv.", f"{up}0.net.", UNIT)
        table |= _under(f"decoder.block{i}.upsample.residual.", f"{up}1.0.", BLOCK)
        for j in range(MOST_BLOCKS):
            table |= _under(f"encoder.block{i}.blocks.{j}.", f"{down}{j + 1}.", BLOCK)
            table |= _under(f"decoder.block{i}.blocks.{j}.", f"{up}1.{j + 1}.", BLOCK)
    for i, place in enumerate(FUSIONS):
        table |= _under(f"{place}.fusion.", f"point_transforms.{i}.", {"lin.": "0.", "norm.module.": "1."})
    return table


TORCH_POINTCLOUD = Project(
    title="torch-pointcloud",
    mark="encoder.block0.downsample.conv.kernel",
    wrapper=None,
    networks=frozenset({("SPVCNN", "last", 18), ("SPVCNN", "last", 34)}),
    prefixes=_prefixes(),
)
