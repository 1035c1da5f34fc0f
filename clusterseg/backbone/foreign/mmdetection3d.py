"""mmdetection3d (OpenMMLab), configurations of the torchsparse back end.

Bus and on-rails are other-vehicle, lane-marking is road; class 4 is spelt `bus` there and means other-vehicle. The
ignored id 19 comes after the classes, so that they keep their ids. Networks of the spconv and MinkowskiEngine back ends
have other names and kernels and are refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from clusterseg.backbone.foreign.project import Project

MMDETECTION3D = Project(
    title="mmdetection3d",
    mark="backbone.conv_input.0.net.0.kernel",
    wrapper="state_dict",
    networks=frozenset(
        {*product(("MinkUNet",), ("last", "levels"), (18, 34)), *product(("SPVCNN",), ("last",), (18, 34))}
    ),
    prefixes={
        "backbone.conv_input.0.net.0.": "stem.0.",
        "backbone.conv_input.0.net.1.": "stem.1.",
        "backbone.conv_input.1.net.0.": "stem.3.",
        "backbone.conv_input.1.net.1.": "stem.4.",
        **{f"backbone.encoder.{i}.": f"stage{i + 1}." for i in range(4)},
        **{f"backbone.decoder.{i}.": f"up{i + 1}." for i in range(4)},
        "backbone.point_transforms.": "point_transforms.",
        "decode_head.conv_seg.": "classifier.0.",
    },
)


def of_another_engine(names: Iterable[str]) -> bool:
    """Whether names are mmdetection3d's with an engine other than torchsparse."""
    names = list(names)
    return any("backbone.conv_input." in name for name in names) and MMDETECTION3D.wrapped_in(names) is None
