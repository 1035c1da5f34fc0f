"""Mixed samples on their way through dataset, sampler and loader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from clusterseg.data.augment import InstanceBank, InstanceCutMix, LaserMix, Mix, Mix3D, OneOf, PointDropout, PolarMix
from clusterseg.data.augment.partners import partners
from clusterseg.data.batch import Batch
from clusterseg.data.dataset import ScanDataset
from clusterseg.data.label_map import load_label_map
from clusterseg.data.loader import TrainLoader, train_loader
from clusterseg.data.reader import Reader, Scan
from clusterseg.data.sample import Sample
from clusterseg.data.sampler import TrainSampler
from clusterseg.data.transforms import RandomRotation, RandomScale
from clusterseg.errors import UserError

LABEL_MAP = load_label_map("semantickitti")
NAMES = LABEL_MAP.class_names
CAR, ROAD, PERSON = 10, 40, 30
# Python 3.12 and later warn about fork beside threads, which is how torch starts workers on Linux there.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create 4 worker processes"
)


class Made(Reader):
    """Scans whose points say in their remission which scan and class they are of; counts what is read."""

    def __init__(self, count: int = 7) -> None:
        self.count = count
        self.reads: list[str] = []

    def scans(self, split: str) -> Sequence[str]:
        return [f"{number}" for number in range(self.count)]

    def read(self, scan_id: str) -> Scan:
        self.reads.append(scan_id)
        number = int(scan_id)
        rng = np.random.default_rng(number)
        kinds = rng.choice([CAR, ROAD, PERSON], 300 + number)
        xyz = rng.uniform(-10, 10, (len(kinds), 3)) * (1, 1, 0.2)
        points = np.c_[xyz, number + LABEL_MAP.raw_to_train[kinds] / 100].astype(np.float32)
        return Scan(points, kinds | 1 << 16)


def bank() -> InstanceBank:
    data = ScanDataset(Made(), "train", LABEL_MAP)
    return InstanceBank.build((data.labelled(index) for index in range(7)), NAMES)


MIXES: dict[str, Mix] = {
    "lasermix": LaserMix(),
    "laser_polarmix": OneOf([LaserMix(), PolarMix()]),
    "mix3d": Mix3D(transforms=[RandomRotation()]),
    "cutmix": InstanceCutMix(bank(), max_shift=9.0),
    "dropout": PointDropout(),
}


def dataset(*mixes: Mix, reader: Reader | None = None, **settings: Any) -> ScanDataset:
    mixes = tuple(mix.bound(NAMES) for mix in mixes)
    settings = {"max_voxels": 250, "transforms": (RandomRotation(), RandomScale()), "seed": 5, **settings}
    return ScanDataset(reader or Made(), "train", LABEL_MAP, mixes=mixes, **settings)


def loader(*mixes: Mix, num_workers: int = 0, batch_size: int = 2, **sampler: int) -> TrainLoader:
    data = dataset(*mixes)
    order = TrainSampler(len(data), seed=5, **sampler)
    options = {"num_workers": num_workers, "pin_memory": False, "persistent_workers": True}
    return train_loader(data, order, batch_size=batch_size, **options)


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert one.scan_ids == other.scan_ids
        for field in fields(Batch):
            value = getattr(one, field.name)
            assert not isinstance(value, torch.Tensor) or torch.equal(value, getattr(other, field.name)), field.name


def assert_equal(first: Sample, second: Sample) -> None:
    for field in fields(Sample):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), field.name)


@pytest.mark.parametrize("name", ["laser_polarmix", "cutmix"])
@pytest.mark.parametrize("num_workers", [1, 4])
def test_workers_change_nothing(name: str, num_workers: int) -> None:
    alone, shared = loader(MIXES[name]), loader(MIXES[name], num_workers=num_workers)
    for epoch in range(2):
        for each in (alone, shared):
            each.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        assert_same(list(alone), list(shared))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_goes_on_in_the_middle_of_an_epoch(num_workers: int) -> None:
    mix = MIXES["laser_polarmix"]
    whole = list(loader(mix, epoch=2))
    stopped = loader(mix, epoch=2, num_workers=num_workers)
    batches = iter(stopped)
    next(batches), next(batches)
    resumed = loader(mix, num_workers=num_workers)
    resumed.load_state_dict(stopped.state_dict())
    assert_same(list(resumed), whole[2:])


def by_scan(loaders: Sequence[TrainLoader]) -> dict[str, list[Batch]]:
    """The samples of each scan; batches must be of one."""
    found: dict[str, list[Batch]] = {}
    for batch in (batch for each in loaders for batch in each):
        found.setdefault(batch.scan_ids[0], []).append(batch)
    return found


def test_ranks_and_padding_change_nothing() -> None:
    mix = MIXES["laser_polarmix"]
    one = by_scan([loader(mix, batch_size=1, epoch=3)])
    two = by_scan([loader(mix, batch_size=1, epoch=3, rank=rank, world_size=2) for rank in range(2)])
    assert one.keys() == two.keys()
    assert sum(map(len, two.values())) == 8, "one scan fills up"
    for name, samples in two.items():
        assert_same(samples, one[name] * len(samples))


@pytest.mark.parametrize("mix", [LaserMix(probability=0), PolarMix(swap=0, paste=0), PointDropout(probability=0)])
def test_at_probability_0_samples_are_those_without_the_mix(mix: Mix) -> None:
    reader = Made()
    plain, mixed = dataset(), dataset(mix, reader=reader)
    for index in range(3):
        assert_equal(mixed[(1, index, 6)], plain[(1, index)])
    assert reader.reads == ["0", "1", "2"], "no second scan is read"


def test_without_mixes_the_second_scan_is_not_read() -> None:
    reader = Made()
    assert_equal(dataset(reader=reader)[(1, 0, 4)], dataset()[(1, 0)])
    assert reader.reads == ["0"]
    dataset(MIXES["cutmix"], reader=reader)[(1, 0, 4)]
    assert reader.reads == ["0", "0"], "a bank needs none either"


def test_two_mixes_read_the_second_scan_once() -> None:
    reader = Made()
    dataset(LaserMix(), PointDropout(), Mix3D(), reader=reader)[(1, 0, 4)]
    assert reader.reads == ["0", "4"]


@pytest.mark.parametrize("name", MIXES)
def test_labels_follow_their_points(name: str) -> None:
    for index in range(5):
        sample = dataset(MIXES[name], max_voxels=None, keep_points=True)[(2, index, 6)]
        assert sample.points is not None and len(sample.points) == len(sample.point_targets)
        scan, kind = np.divmod(np.round(100 * sample.points[:, 3]).astype(int), 100)
        np.testing.assert_array_equal(kind, sample.point_targets)
        if name not in ("cutmix", "dropout"):
            assert set(scan) == {index, 6}
        first = np.round(100 * sample.feats[:, 3]).astype(int) % 100
        np.testing.assert_array_equal(first, sample.targets)
        assert sample.scan_id == str(index)


def test_kept_points_are_the_mixed_ones_before_any_transform() -> None:
    mix = LaserMix()
    data = dataset(mix, keep_points=True, max_voxels=None)
    rng = np.random.default_rng(np.random.SeedSequence([5, 3, 1], spawn_key=(1,)))
    expected = mix(data.labelled(1), data.labelled(4), rng)
    sample = data[(3, 1, 4)]
    np.testing.assert_array_equal(sample.points, expected.points)
    np.testing.assert_array_equal(sample.point_targets, expected.targets)
    assert not np.array_equal(sample.feats[sample.inverse_map], expected.points)


def test_a_key_without_a_second_scan_has_that_of_the_sampler() -> None:
    data = dataset(LaserMix())
    for epoch in range(3):
        assert_equal(data[(epoch, 2)], data[(epoch, 2, int(partners(5, epoch, 7)[2]))])
    assert_equal(data[2], data[(0, 2)])


def test_an_unknown_label_of_the_second_scan_names_it() -> None:
    class Broken(Made):
        def read(self, scan_id: str) -> Scan:
            scan = super().read(scan_id)
            return Scan(scan.points, np.full(len(scan.points), 7)) if scan_id == "4" else scan

    with pytest.raises(UserError, match=r"^4: unknown label ids \[7\]"):
        dataset(LaserMix(), reader=Broken())[(0, 0, 4)]
