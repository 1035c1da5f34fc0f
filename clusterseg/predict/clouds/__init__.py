"""Point clouds in the formats that people have: .bin, .npy, .pcd, .ply, .las, .laz."""

from clusterseg.predict.clouds.cloud import Cloud
from clusterseg.predict.clouds.reader import SUFFIXES, read_cloud

__all__ = ["SUFFIXES", "Cloud", "read_cloud"]
