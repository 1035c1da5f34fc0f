"""Subjects on their way from a label file to the voxels of a mixed batch, point by point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from clusterseg.data.augment import LaserMix, Mix, Mix3D, PolarMix
from clusterseg.data.batch import collate
from clusterseg.data.dataset import ScanDataset
from clusterseg.data.label_map import load_label_map
from clusterseg.data.reader import Reader, Scan
from clusterseg.data.subjects import modes_of, subjects_of, things_of
from clusterseg.data.transforms import RandomRotation, RandomScale

LABEL_MAP = load_label_map("semantickitti")
CAR, ROAD = 10, 40


class Numbered(Reader):
    """Two sequences of two scans with the same instance numbers; the remission of a point tells its truth."""

    def scans(self, split: str) -> Sequence[str]:
        return ["00/0", "00/1", "01/0", "01/1"]

    def instance_scope(self, scan_id: str) -> str:
        return scan_id.split("/")[0]

    def modes(self, scan_id: str) -> Mapping[int, int]:
        return {1: 0, 2: 3, 3: 5} if scan_id[:2] == "00" else {1: 4, 3: 1}

    def read(self, scan_id: str) -> Scan:
        rng = np.random.default_rng(int(scan_id.replace("/", "")))
        kinds, numbers = rng.choice([CAR, ROAD], 400), rng.integers(0, 4, 400)
        xyz = rng.uniform(-10, 10, (400, 3)) * (1, 1, 0.2)
        truth = int(scan_id[:2]) * 10 + numbers
        return Scan(np.c_[xyz, truth].astype(np.float32), (kinds | numbers << 16).astype(np.uint32))


def truth(remission: float) -> tuple[int, int, int]:
    """(sequence, instance, mode) of a point by its remission."""
    sequence, number = divmod(round(remission), 10)
    return sequence, number, Numbered().modes(f"{sequence:02d}/0").get(number, -1)


def dataset(*mixes: Mix, **settings) -> ScanDataset:
    bound = tuple(mix.bound(LABEL_MAP.class_names) for mix in mixes)
    transforms = (RandomRotation(), RandomScale())
    return ScanDataset(Numbered(), "train", LABEL_MAP, voxel_size=0.4, transforms=transforms, mixes=bound, **settings)


def check(subjects: torch.Tensor, remission: torch.Tensor) -> None:
    seen: dict[int, tuple[int, int]] = {}
    for subject, value in zip(subjects, remission.tolist(), strict=True):
        sequence, number, mode = truth(value)
        thing = int(things_of(subject))
        assert int(modes_of(subject)) == mode
        assert (thing == 0) == (number == 0)
        if thing:
            assert seen.setdefault(thing, (sequence, number)) == (sequence, number)
    assert len(seen) == len(set(seen.values())), "one number for one thing, in all scans of its sequence"
    assert len(seen) > 3


def test_voxels_and_points_of_mixed_scans_keep_their_things_and_modes() -> None:
    for mixes in [(), (LaserMix(),), (PolarMix(classes=("car",)),), (Mix3D(transforms=[RandomRotation()]),)]:
        data = dataset(*mixes, subjects=True, max_voxels=350, keep_points=True)
        batch = collate([data[1, index] for index in range(4)])
        assert batch.subjects is not None
        assert batch.point_subjects is not None
        assert batch.points is not None
        check(batch.subjects, batch.feats[:, 3])
        check(batch.point_subjects, batch.points[:, 3])


def test_they_cost_nothing_where_nothing_asks() -> None:
    batch = collate([dataset(LaserMix())[0, 0]])
    assert batch.subjects is None and batch.point_subjects is None and batch.view_coords is None


def test_without_instances_there_is_no_subject() -> None:
    assert (subjects_of(np.array([CAR, ROAD]), "00", {0: 3}) >> 8 == 0).all()
    assert subjects_of(np.array([CAR | 9 << 16]), "00", None) & 255 == 0


def test_a_second_view_holds_the_same_points_elsewhere() -> None:
    data = dataset(two_views=True, max_voxels=300)
    plain = dataset(max_voxels=300)
    batch, alone = (collate([each[2, index] for index in range(3)]) for each in (data, plain))
    assert torch.equal(batch.coords, alone.coords), "the first view is that of a data set without a second"
    assert batch.view_coords is not None and batch.view_feats is not None and batch.view_rows is not None
    there = batch.view_rows >= 0
    assert 0.2 < there.float().mean() < 1, "the caps of both views drop different points"
    found = batch.view_coords[batch.view_rows[there]]
    assert torch.equal(found[:, 0], batch.coords[there, 0]), "the same scan"
    assert not torch.allclose(batch.view_feats[batch.view_rows[there], :2], batch.feats[there, :2], atol=0.5)
    again = collate([data[2, index] for index in range(3)])
    assert torch.equal(batch.view_feats, again.view_feats)
    for row in torch.nonzero(there)[::40, 0].tolist():
        first, second = batch.feats[row], batch.view_feats[batch.view_rows[row]]
        span = 0.4 * 3**0.5 / 0.95  # the first point of a voxel stands for all: within the voxel's diagonal
        assert abs(float(first[:3].norm() / second[:3].norm().clamp_min(1e-6)) - 1) < 0.12 + span / float(
            first[:3].norm()
        )
