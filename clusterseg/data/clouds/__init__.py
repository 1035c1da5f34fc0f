"""Readers of point-cloud formats: .bin, .npy, .pcd, .ply, .las, .laz."""

from clusterseg.data.clouds.cloud import FEATURES, Cloud
from clusterseg.data.clouds.formats import SUFFIXES, read_cloud
from clusterseg.data.clouds.layout import Layout, choose_layout

__all__ = ["FEATURES", "SUFFIXES", "Cloud", "Layout", "choose_layout", "read_cloud"]
