"""Semantic segmentation of lidar scans with sparse point-voxel networks and within-class clustering."""

__version__ = "0.1.0"
