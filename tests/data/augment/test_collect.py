from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_scans import LABEL_MAP, NAMES, assert_same, made_scan

from clusterseg.data.augment import InstanceBank, InstanceCutMix, LabelledScan, LaserMix, OneOf, ensure_bank
from clusterseg.data.cache import Cache
from clusterseg.errors import UserError


class Scans:
    """Made scans, which count how often they are read."""

    def __init__(self, *seeds: int) -> None:
        self.scans = [made_scan(seed) for seed in seeds]
        self.reads = 0

    def __call__(self, index: int) -> LabelledScan:
        self.reads += 1
        return self.scans[index]


def bank_of(folder: Path, scans: Scans, **settings: Any) -> InstanceBank:
    ids = [f"00/{number:06d}" for number in range(len(scans.scans))]
    return ensure_bank(Cache(folder), ids, scans, LABEL_MAP, **settings)


def test_collected_once_for_the_same_scans_and_settings(tmp_path: Path) -> None:
    scans = Scans(1, 2, 3)
    bank = bank_of(tmp_path, scans, classes=("car", "person"), min_points=20)
    expected = InstanceBank.build(scans.scans, NAMES, classes=("car", "person"), min_points=20)
    np.testing.assert_array_equal(bank.points, expected.points)
    np.testing.assert_array_equal(bank.starts, expected.starts)
    scans.reads = 0
    again = bank_of(tmp_path, scans, min_points=20, classes=["car", "person"])
    np.testing.assert_array_equal(again.points, bank.points)
    assert scans.reads == 2, "the first and the last, to know the data set again"
    assert len(list(tmp_path.iterdir())) == 1


def test_other_scans_or_settings_make_another_bank(tmp_path: Path) -> None:
    chosen: list[tuple[Scans, dict[str, Any]]] = [(Scans(1, 2), {}), (Scans(1), {}), (Scans(1, 3), {})]
    for scans, settings in [*chosen, (Scans(1, 2), {"seed": 1}), (Scans(1, 2), {"min_points": 10})]:
        bank_of(tmp_path, scans, **settings)
    assert len(list(tmp_path.iterdir())) == 5


def test_a_damaged_file_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bank = bank_of(tmp_path, Scans(1))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING, "clusterseg"):
        again = bank_of(tmp_path, Scans(1))
    assert "no bank of instances" in caplog.text
    np.testing.assert_array_equal(again.points, bank.points)
    np.testing.assert_array_equal(InstanceBank.load(path).points, bank.points)


def collect(folder: str) -> int:
    return len(bank_of(Path(folder), Scans(1, 2)))


def test_several_processes_at_once(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.map(collect, [str(tmp_path)] * 3, 1) == [len(InstanceBank.build(Scans(1, 2).scans, NAMES))] * 3
    assert len(list(tmp_path.iterdir())) == 1


def test_labels_without_instance_numbers_are_told(tmp_path: Path) -> None:
    scans = Scans(1)
    scans.scans = [replace(scan, instances=np.zeros_like(scan.instances)) for scan in scans.scans]
    with pytest.raises(UserError, match=r"cutmix: got no instance number in the labels of 1 training scan"):
        bank_of(tmp_path, scans)
    assert not list(tmp_path.iterdir())


def test_a_bank_without_the_classes_is_told(caplog: pytest.LogCaptureFixture) -> None:
    bank = InstanceBank.build([made_scan(2)], NAMES, classes=["truck"])
    with caplog.at_level(logging.WARNING, "clusterseg"):
        InstanceCutMix(bank, classes=["truck"]).bound(NAMES)
    assert "the bank has no instance of truck; nothing is pasted" in caplog.text


def test_cutmix_collects_only_what_it_lacks() -> None:
    bank, calls = InstanceBank.build([made_scan(2)], NAMES), list[list[str]]()

    def make(classes: Sequence[str]) -> InstanceBank:
        calls.append(list(classes))
        return bank

    LaserMix().bound(NAMES, make)
    InstanceCutMix(bank).bound(NAMES, make)
    assert not calls
    chosen = OneOf([InstanceCutMix(classes=["person"], fewest=20)]).bound(NAMES, make)
    given = InstanceCutMix(bank, classes=["person"], fewest=20).bound(NAMES)
    assert calls == [["person"]]
    rng = np.random.default_rng(0)
    rng.choice(1, p=[1.0])  # which mix
    assert_same(chosen(made_scan(1), None, np.random.default_rng(0)), given(made_scan(1), None, rng))


def test_cutmix_without_a_bank() -> None:
    with pytest.raises(UserError, match=r"cutmix\.bank: got none, expected instances to paste"):
        InstanceCutMix().bound(NAMES)
