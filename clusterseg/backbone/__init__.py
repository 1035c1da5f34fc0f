"""Networks from voxels to logits and features."""

from clusterseg.backbone.minkunet import MinkUNet
from clusterseg.backbone.output import Backbone, BackboneOutput
from clusterseg.backbone.spvcnn import SPVCNN
from clusterseg.backbone.spvnas import SPVNAS

__all__ = ["SPVCNN", "SPVNAS", "Backbone", "BackboneOutput", "MinkUNet"]
