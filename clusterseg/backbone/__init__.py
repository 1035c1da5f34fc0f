"""Networks from voxels to logits and features."""

from clusterseg.backbone.output import Backbone, BackboneOutput
from clusterseg.backbone.spvnas import SPVNAS

__all__ = ["SPVNAS", "Backbone", "BackboneOutput"]
