"""OpenPCSeg (PJLab-ADG/PCSeg): the names of mit-han-lab/spvnas, a classifier on three levels and 20 classes.

Class 0 is `unlabeled`, which training ignores, and the 19 of the benchmark follow in its order. Bus and on-rails are
other-vehicle, lane-marking is road. The project takes the argmax over all 20, so that a voxel may come out unlabeled.
It divides point coordinates by the voxel size in float32, which moves some of them by a rounding; ours are whole
numbers, and logits differ from the project's by up to 2e-5 of the largest one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from torch import Tensor

from clusterseg.backbone.foreign.project import CLASSIFIER, Project
from clusterseg.backbone.foreign.settings import reads_levels

#: Classes of its SemanticKITTI networks.
NUM_CLASSES = 20

OPENPCSEG = Project(
    title="OpenPCSeg",
    mark="stage1.0.net.0.kernel",
    wrapper="model_state",
    networks=frozenset(product(("MinkUNet", "SPVCNN"), ("levels",), (18, 34))),
    unlabeled_first=True,
)


def is_openpcseg(weights: Mapping[str, Tensor], wrapper: str | None) -> bool:
    """Whether weights in the names of mit-han-lab/spvnas are OpenPCSeg's.

    Its files are recognised by their wrapper. Without one they are recognised by 20 classes and a classifier that reads
    more than the last level.
    """
    if wrapper is not None:
        return wrapper == OPENPCSEG.wrapper
    return reads_levels(weights) and len(weights[CLASSIFIER[0]]) == NUM_CLASSES
