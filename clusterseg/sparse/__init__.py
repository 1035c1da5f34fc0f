"""The sparse convolution engine: voxels, kernel maps, convolutions, points to voxels and back."""

from clusterseg.sparse.conv import Conv3d
from clusterseg.sparse.norm import BatchNorm
from clusterseg.sparse.point_voxel import build_ahead, point_to_voxel, voxel_to_point
from clusterseg.sparse.tensor import Grid, SparseTensor, sparse_tensor
from clusterseg.sparse.workspace import Workspace

__all__ = [
    "BatchNorm",
    "Conv3d",
    "Grid",
    "SparseTensor",
    "Workspace",
    "build_ahead",
    "point_to_voxel",
    "sparse_tensor",
    "voxel_to_point",
]
