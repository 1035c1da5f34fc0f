from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from made_scans import LABEL_MAP, NAMES, assert_same, made_scan

from clusterseg.data.augment import InstanceBank, InstanceCutMix, LaserMix, OneOf, ensure_bank
from clusterseg.data.scan import write_labels, write_scan
from clusterseg.data.sequences import ScanFiles
from clusterseg.errors import UserError

MakeFiles = Callable[[Sequence[int]], list[ScanFiles]]


@pytest.fixture
def files_of(tmp_path: Path) -> MakeFiles:
    def make(seeds: Sequence[int]) -> list[ScanFiles]:
        files = []
        for seed in seeds:
            scan, path = made_scan(seed), tmp_path / "data" / f"{seed}.bin"
            write_scan(path, scan.points[:, :4])
            write_labels(
                path.with_suffix(".label"), LABEL_MAP.to_raw(scan.targets).astype(np.int64) | scan.instances << 16
            )
            files.append(ScanFiles(f"00/{seed:06d}", path, path.with_suffix(".label")))
        return files

    return make


def test_collected_once_for_the_same_scans_and_settings(tmp_path: Path, files_of: MakeFiles) -> None:
    files, folder = files_of([1, 2]), tmp_path / "banks"
    bank = ensure_bank(folder, files, LABEL_MAP, classes=("car", "person"), min_points=20)
    expected = InstanceBank.build(
        [s.with_points(s.points[:, :4]) for s in (made_scan(1), made_scan(2))],
        NAMES,
        classes=("car", "person"),
        min_points=20,
    )
    np.testing.assert_array_equal(bank.points, expected.points)
    np.testing.assert_array_equal(bank.starts, expected.starts)
    files[0].scan.unlink()  # what follows reads the file alone
    again = ensure_bank(folder, files, LABEL_MAP, min_points=20, classes=["car", "person"])
    np.testing.assert_array_equal(again.points, bank.points)
    assert len(list(folder.iterdir())) == 1


def test_other_scans_or_settings_make_another_bank(tmp_path: Path, files_of: MakeFiles) -> None:
    files, folder = files_of([1, 2]), tmp_path / "banks"
    for chosen, settings in ((files, {}), (files[:1], {}), (files, {"seed": 1}), (files, {"min_points": 10})):
        ensure_bank(folder, chosen, LABEL_MAP, **settings)
    assert len(list(folder.iterdir())) == 4


def test_a_scan_without_labels_has_no_instances(tmp_path: Path, files_of: MakeFiles) -> None:
    files = [ScanFiles(scan.scan_id, scan.scan, None) for scan in files_of([1])]
    assert len(ensure_bank(tmp_path / "banks", files, LABEL_MAP)) == 0


def test_cutmix_collects_only_what_it_lacks() -> None:
    bank, calls = InstanceBank.build([made_scan(2)], NAMES), []

    def collect() -> InstanceBank:
        calls.append(1)
        return bank

    LaserMix().bound(NAMES, collect)
    InstanceCutMix(bank).bound(NAMES, collect)
    assert not calls
    chosen = OneOf([InstanceCutMix(classes=["person"], fewest=20)]).bound(NAMES, collect)
    given = InstanceCutMix(bank, classes=["person"], fewest=20).bound(NAMES)
    assert calls == [1]
    rng = np.random.default_rng(0)
    rng.choice(1, p=[1.0])  # which mix
    assert_same(chosen(made_scan(1), None, np.random.default_rng(0)), given(made_scan(1), None, rng))


def test_cutmix_without_a_bank() -> None:
    with pytest.raises(UserError, match=r"cutmix\.bank: got none, expected instances to paste"):
        InstanceCutMix().bound(NAMES)
