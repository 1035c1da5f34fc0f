"""Random augmentations: transforms of points (`transform(points, rng)`), and mixes of points and labels together
(`mix(scan, other, rng)`).
"""

from clusterseg.data.augment.collect import ensure_bank
from clusterseg.data.augment.cutmix import InstanceCutMix
from clusterseg.data.augment.dropout import BeamDropout, PointDropout, RangeDropout
from clusterseg.data.augment.instances import InstanceBank
from clusterseg.data.augment.jitter import RandomJitter
from clusterseg.data.augment.labelled import LabelledScan, Mix, join
from clusterseg.data.augment.mixing import LaserMix, Mix3D, OneOf, PolarMix
from clusterseg.data.augment.partners import partners
from clusterseg.data.augment.remission import RandomRemission
from clusterseg.data.augment.surfaces import RandomSurfaces
from clusterseg.data.augment.translate import RandomTranslation

__all__ = [
    "BeamDropout",
    "InstanceBank",
    "InstanceCutMix",
    "LabelledScan",
    "LaserMix",
    "Mix",
    "Mix3D",
    "OneOf",
    "PointDropout",
    "PolarMix",
    "RandomJitter",
    "RandomRemission",
    "RandomSurfaces",
    "RandomTranslation",
    "RangeDropout",
    "ensure_bank",
    "join",
    "partners",
]
