"""Several data sets as one: labels, proportions, resuming, ranks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from made_sets import cloud, counts

from clusterseg.data.augment import Mix3D
from clusterseg.data.label_map import IGNORE_INDEX, load_label_map
from clusterseg.data.mixture import MixtureDataModule, MixtureReader, Part
from clusterseg.data.proportions import Proportions, occurrences
from clusterseg.data.reader import Reader, Scan
from clusterseg.data.sampler import TrainSampler
from clusterseg.data.transforms import RandomRotation, RandomScale
from clusterseg.errors import UserError

TARGET = load_label_map("semantickitti")


class Made(Reader):
    """Scans of random points with ids drawn from those of a label map."""

    def __init__(self, ids: Sequence[int], train: int, val: int = 1, features: Sequence[str] = Reader.features) -> None:
        self.ids, self.sizes, self.features = list(ids), {"train": train, "val": val, "test": 0}, tuple(features)

    def scans(self, split: str) -> Sequence[str]:
        return [f"{split}/{number}" for number in range(self.sizes[split])]

    def read(self, scan_id: str) -> Scan:
        seed = [len(self.ids), *map(ord, scan_id)]
        rng = np.random.default_rng(seed)
        raw = rng.choice(self.ids, 40) | rng.integers(0, 5, 40) << 16
        return Scan(cloud(len(self.ids) + ord(scan_id[-1]), 40, len(self.features)), raw)

    def source(self, scan_id: str, what: str = "points") -> str:
        return f"{scan_id}.{what}"


KITTI = [0, 10, 11, 40, 48, 70, 252]
PANDA = [0, 5, 7, 13, 14, 26, 30, 41, 42]
# PandaSet's id -> the name of SemanticKITTI's class, as the mapping should have it; None: ignored.
MEANT = {
    0: None, 5: "vegetation", 7: "road", 13: "car", 14: "car", 26: "bicycle", 30: "person", 41: "building", 42: None,
}  # fmt: skip


def module(kitti: int = 6, panda: int = 3, shares: tuple[float | None, ...] = (None, None), **settings: Any) -> Any:
    parts = {
        "kitti": Part(Made(KITTI, kitti), "semantickitti", shares[0]),
        "panda": Part(Made(PANDA, panda), "pandaset_as_semantickitti", shares[1]),
        "off": None,
    }
    return MixtureDataModule(parts, num_workers=0, **settings)


def test_labels_of_each_part_become_the_classes_of_the_mixture() -> None:
    data = module()
    dataset = data.dataset("train")
    assert dataset.scan_ids == [f"kitti/train/{i}" for i in range(6)] + [f"panda/train/{i}" for i in range(3)]
    for index, scan_id in enumerate(dataset.scan_ids):
        name, _, own = scan_id.partition("/")
        raw = data.mixture.parts[name].reader.read(own).labels
        scan = data.reader.read(scan_id)
        np.testing.assert_array_equal(scan.labels >> 16, raw >> 16)  # instances stay
        for each, target in zip(raw & 0xFFFF, dataset[index].point_targets, strict=True):
            meant = MEANT[int(each)] if name == "panda" else None
            known = TARGET.raw_to_train[each] if name == "kitti" else TARGET.class_names.index(meant) if meant else 255
            assert target == known
    assert data.reader.source("panda/val/0", "labels") == "val/0.labels"
    assert data.reader.prediction_name("panda/val/0") == "panda/val/0.label"
    assert data.dataset("val").scan_ids == ["kitti/val/0", "panda/val/0"] and not data.reader.has_split("test")


def test_a_part_that_is_not_validated_on() -> None:
    parts = {"a": Part(Made(KITTI, 2), "semantickitti"), "b": Part(Made(KITTI, 2), "semantickitti", validate=False)}
    assert MixtureReader(parts, TARGET).scans("val") == ["a/val/0"]
    capped = MixtureDataModule(parts, num_workers=0, max_scans=1)
    assert capped.dataset("train").scan_ids == ["a/train/0", "b/train/0"]
    with pytest.raises(UserError, match=r"data\.train_scans: a mixture draws by shares; set data\.epoch_scans"):
        MixtureDataModule(parts, num_workers=0, train_scans=1)


@pytest.mark.parametrize(("sizes", "shares", "draws"), [((6, 3), (1, 1), None), ((50, 7, 4), (0.5, 0.3, 0.2), 31)])
def test_proportions_hold_in_every_epoch_and_scans_take_turns(
    sizes: tuple[int, ...], shares: tuple[float, ...], draws: int | None
) -> None:
    proportions = Proportions(sizes, shares, draws)
    total, starts = sum(sizes), [0, *itertools.accumulate(sizes)]
    assert len(proportions) == (total if draws is None else draws)
    seen: dict[int, int] = {}
    for epoch in range(12):
        order = proportions.order(5, epoch)
        np.testing.assert_array_equal(order, proportions.order(5, epoch))
        assert len(set(order.tolist())) == len(order), "each draw is a sample of its own"
        drawn = [
            [d % total for d in order.tolist() if starts[i] <= d % total < starts[i + 1]] for i in range(len(sizes))
        ]
        for part, share in zip(drawn, shares, strict=True):
            assert abs(len(part) - len(order) * share / sum(shares)) < 1
        for scan, count in counts([scan for part in drawn for scan in part]).items():
            seen[scan] = seen.get(scan, 0) + count
        for i in range(len(sizes)):  # within a part, over all epochs so far
            times = [seen.get(scan, 0) for scan in range(starts[i], starts[i + 1])]
            assert max(times) - min(times) <= 1
    assert not np.array_equal(proportions.order(5, 0), proportions.order(5, 1))
    assert not np.array_equal(proportions.order(5, 0), proportions.order(6, 0))


def test_occurrences_by_a_loop() -> None:
    values, seen = np.random.default_rng(0).integers(0, 9, 100), dict.fromkeys(range(9), 0)
    for value, count in zip(values.tolist(), occurrences(values).tolist(), strict=True):
        assert count == seen[value]
        seen[value] += 1


def test_two_draws_of_a_scan_are_augmented_apart() -> None:
    steps = {"mix": Mix3D(), "rotation": RandomRotation(), "scale": RandomScale()}
    data = module(6, 1, (1, 1), augmentation=steps)
    dataset = data.dataset("fit")
    keys = [key for key in TrainSampler(7, seed=0, proportions=data.order()) if key[1] % 7 == 6]
    assert len(keys) in (3, 4) and len({key[1] for key in keys}) == len(keys)
    feats = [dataset[key].feats for key in keys]
    for a, b in itertools.combinations(feats, 2):
        assert a.shape != b.shape or not np.array_equal(a, b)
    again = module(6, 1, (1, 1), augmentation=steps).dataset("fit")
    np.testing.assert_array_equal(again[keys[-1]].feats, feats[-1])
    assert {dataset[key].scan_id for key in keys} == {"panda/train/0"}


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("start", [0, 4])
def test_ranks_and_resumes_see_the_same_order(world_size: int, start: int) -> None:
    proportions = Proportions((6, 3), (1, 2), 11)
    whole = list(TrainSampler(9, seed=1, epoch=2, proportions=proportions))
    assert len(whole) == 11
    dealt = [
        list(TrainSampler(9, seed=1, epoch=2, start=start, rank=r, world_size=world_size, proportions=proportions))
        for r in range(world_size)
    ]
    assert len({len(each) for each in dealt}) == 1
    merged = [key for step in itertools.zip_longest(*dealt) for key in step if key is not None]
    assert merged[: 11 - start] == whole[start:]


def test_a_loader_resumes_within_an_epoch() -> None:
    data = module(6, 2, (1, 1), batch_size=2, augmentation={"rotation": RandomRotation()})
    assert data.batches_per_epoch(1) == 4 and data.batches_per_epoch(2) == 2

    def batches(loader: Any) -> list[tuple[tuple[str, ...], int]]:
        return [(batch.scan_ids, int(batch.coords.long().sum())) for batch in loader]

    whole = batches(data.train_dataloader())
    loader = data.train_dataloader()
    first = iter(loader)
    _ = next(first)
    resumed = module(6, 2, (1, 1), batch_size=2, augmentation={"rotation": RandomRotation()}).train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    assert batches(resumed) == whole[1:]
    assert resumed.batches_left == 3


def test_without_shares_every_scan_is_seen_once() -> None:
    data = module(batch_size=1)
    assert data.order() is None
    assert sorted(scan for batch in data.train_dataloader() for scan in batch.scan_ids) == sorted(
        data.dataset("fit").scan_ids
    )
    assert len(module(epoch_scans=4).order()) == 4


def test_what_does_not_fit_is_one_message() -> None:
    other = Part(Made(KITTI, 2, features=("x", "y", "z", "remission", "ring")), "semantickitti")
    with pytest.raises(UserError, match=r"parts\.b has the channels .*ring, data\.parts\.a has x, y, z, remission"):
        MixtureReader({"a": Part(Made(KITTI, 2), "semantickitti"), "b": other}, TARGET)
    with pytest.raises(UserError, match=r"data\.parts\.a\.label_map=pandaset has other classes \(car.*than"):
        MixtureReader({"a": Part(Made(PANDA, 2), "pandaset")}, TARGET)
    with pytest.raises(UserError, match=r"data\.parts: no data set; expected at least one"):
        MixtureReader({}, TARGET)
    with pytest.raises(UserError, match="shares of all parts are 0"):
        module(shares=(0, 0)).order()
    with pytest.raises(UserError, match="a part has a share and no training scan"):
        module(panda=0, shares=(1, 1)).order()
    without = {"name": "two", "classes": {"thing": {"id": 0}, "ground": {"id": 2}}}
    with pytest.raises(UserError, match=r"data\.label_map=two: unlabeled: 0 is not among its ignored ids"):
        MixtureDataModule({"a": Part(Made(KITTI, 1), "semantickitti")}, without)
    unknown = MixtureDataModule({"a": Part(Made([10, 9], 1), "semantickitti")}, num_workers=0)
    with pytest.raises(UserError, match=r"unknown label ids \[9\].*data\.label_map=semantickitti"):
        _ = unknown.dataset("train")[0]


def test_a_class_that_a_part_lacks_is_never_a_target() -> None:
    data = module()
    targets = np.concatenate([data.dataset("train")[i].point_targets for i in range(6, 9)])
    assert IGNORE_INDEX in targets
    assert set(counts(targets)) <= {IGNORE_INDEX, *(TARGET.class_names.index(n) for n in MEANT.values() if n)}
