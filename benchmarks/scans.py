"""Scans to measure on: a real one where there is one, else a synthetic street; the table says which."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clusterseg.data.label_map import load_label_map
from clusterseg.data.scan import read_labels, read_scan
from clusterseg.data.voxelize import voxelize
from clusterseg.synthetic.lidar import Lidar
from clusterseg.synthetic.measure import take_scan
from clusterseg.synthetic.town import build_town

LABEL_MAP = load_label_map("semantickitti")
CLASS_NAMES = LABEL_MAP.class_names
SEQUENCE = "08"


@dataclass(frozen=True)
class Voxels:
    """Input of a network.

    Attributes:
        feats: (voxels, 4) float32.
        coords: (voxels, 4) int32: scan, x, y, z.
        labels: (voxels,) train ids.
        name: Where they come from.
    """

    feats: Tensor
    coords: Tensor
    labels: Tensor
    name: str

    def __len__(self) -> int:
        return len(self.coords)

    def to(self, device: torch.device) -> Voxels:
        return Voxels(self.feats.to(device), self.coords.to(device), self.labels.to(device), self.name)


def scan(data: Path | str | None, quick: bool = False) -> Voxels:
    """The first scan of sequence 08, or a street like it, in voxels of 5 cm."""
    if quick:
        return street(beams=16, azimuths=120, voxel_size=0.2)
    files = [] if data is None else sorted(Path(data).glob(f"sequences/{SEQUENCE}/velodyne/*.bin"))
    if not files:
        return street()
    raw = files[0].parents[1] / "labels" / f"{files[0].stem}.label"
    points = read_scan(files[0])
    return _voxels(points, read_labels(raw, len(points)), 0.05, f"real scan {SEQUENCE}/{files[0].stem}")


def street(
    seed: int = 1, beams: int = 64, azimuths: int = 2000, voxel_size: float = 0.05, moment: float = 0.0
) -> Voxels:
    points, raw = take_scan(
        build_town(seed, 0, 1.0), Lidar(beams, azimuths, 80.0, 0.01), moment, np.random.default_rng(0)
    )
    return _voxels(points.astype(np.float32), raw, voxel_size, f"street of {beams} x {azimuths} rays")


def _voxels(points: np.ndarray, raw: np.ndarray, voxel_size: float, name: str) -> Voxels:
    voxels = voxelize(points, voxel_size)
    coords = torch.from_numpy(np.concatenate([np.zeros((len(voxels), 1), np.int32), voxels.coords], 1))
    labels = torch.from_numpy(LABEL_MAP.to_train(raw[voxels.first_point]))
    return Voxels(torch.from_numpy(points[voxels.first_point]), coords, labels, name)


def batch(scans: list[Voxels]) -> Voxels:
    """Several scans as one batch."""
    coords = [one.coords.clone() for one in scans]
    for index, part in enumerate(coords):
        part[:, 0] = index
    return Voxels(
        torch.cat([one.feats for one in scans]),
        torch.cat(coords),
        torch.cat([one.labels for one in scans]),
        f"{len(scans)} x {scans[0].name}",
    )


def coarse_streets(quick: bool = False) -> Voxels:
    """A batch as a small study trains on: four streets of 32 x 500 rays in voxels of 20 cm."""
    rays = (16, 100) if quick else (32, 500)
    return batch([street(1, *rays, voxel_size=0.2, moment=0.2 * i) for i in range(4)])


def cloud(like: Voxels, voxels: int) -> Voxels:
    """One cloud of so many voxels: copies of a scan side by side, the voxels of the last one nearest to its middle."""
    width = int(like.coords[:, 1].max()) + 64
    middle = like.coords[:, 1:].float().median(0).values
    nearest = (like.coords[:, 1:].float() - middle).norm(dim=1).argsort(stable=True)
    parts = []
    for copy in range(-(-voxels // len(like))):
        rows = nearest[: min(len(like), voxels - copy * len(like))].sort().values
        coords = like.coords[rows].clone()
        coords[:, 1] += copy * width
        parts.append((like.feats[rows], coords, like.labels[rows]))
    return Voxels(*(torch.cat(list(part)) for part in zip(*parts, strict=True)), f"{voxels:,} voxels of {like.name}")
