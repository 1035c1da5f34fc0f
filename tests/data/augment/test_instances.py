from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_scans import NAMES, OTHER, made_scan, real_scan, rows_of

from clusterseg.data.augment import InstanceBank, LabelledScan
from clusterseg.errors import UserError

SCANS = [made_scan(seed, seed * 10_000) for seed in range(6)]


def assert_same_bank(first: InstanceBank, second: InstanceBank) -> None:
    for name in ("points", "starts", "classes"):
        got, expected = getattr(first, name), getattr(second, name)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    assert first.class_names == second.class_names


def slow_instances(scans: list[LabelledScan], name: str, min_points: int) -> list[list[int]]:
    """Rows of each instance of a class, in the order of the scans and of the numbers."""
    found = []
    for scan in scans:
        groups: dict[int, list[int]] = {}
        rows = rows_of(scan).tolist()
        for row, target, number in zip(rows, scan.targets.tolist(), scan.instances.tolist(), strict=True):
            if target == NAMES.index(name) and number:
                groups.setdefault(number, []).append(row)
        found += [groups[number] for number in sorted(groups) if len(groups[number]) >= min_points]
    return found


def test_holds_each_instance_as_it_was_seen() -> None:
    bank = InstanceBank.build(SCANS, NAMES, classes=["person", "car", "truck"], min_points=50)
    assert bank.class_names == ("person", "car", "truck")
    assert len(bank.of_class("truck")) == 0
    for name in ("person", "car"):
        expected = slow_instances(SCANS, name, 50)
        assert [bank[i][:, 4].astype(int).tolist() for i in bank.of_class(name)] == expected and expected
    traced = {int(row[4]): row for scan in SCANS for row in scan.points}
    assert all((row == traced[int(row[4])]).all() for row in bank.points)


def test_real_instances(shared: Path) -> None:
    scans = [real_scan(shared, "00"), real_scan(shared, "06", 4, OTHER)]
    bank = InstanceBank.build(scans, NAMES)
    expected = slow_instances(scans, "car", 30)
    assert [bank[i][:, 4].astype(int).tolist() for i in bank.of_class("car")] == expected
    assert len(expected) > 5


def test_a_full_class_keeps_each_instance_as_likely_as_any_other() -> None:
    everything = InstanceBank.build(SCANS, NAMES, classes=["car"], min_points=1)
    kept = np.zeros(len(everything))
    first_rows = everything.points[everything.starts[:-1], 4]
    for seed in range(300):
        bank = InstanceBank.build(SCANS, NAMES, classes=["car"], min_points=1, max_per_class=6, seed=seed)
        assert len(bank) == 6
        chosen = bank.points[bank.starts[:-1], 4]
        assert len(set(chosen)) == 6
        kept += np.isin(first_rows, chosen)
    np.testing.assert_allclose(kept / 300, 6 / len(everything), atol=0.1)


def test_is_decided_by_the_seed() -> None:
    def build(seed: int) -> InstanceBank:
        return InstanceBank.build(SCANS, NAMES, max_per_class=4, seed=seed)

    assert_same_bank(build(1), build(1))
    assert not np.array_equal(build(1).points, build(2).points)


def test_points_of_no_instance_are_none() -> None:
    """A number of 0 says that things of the class were not told apart."""
    numbers = np.where(SCANS[0].instances == 1, 0, SCANS[0].instances)
    scan = LabelledScan(SCANS[0].points, SCANS[0].targets, numbers)
    bank = InstanceBank.build([scan], NAMES, classes=["car"], min_points=1)
    assert len(bank) == len(InstanceBank.build(SCANS[:1], NAMES, classes=["car"], min_points=1)) - 1
    assert not set(bank.points[:, 4]) & set(scan.points[numbers == 0, 4])


def test_points_that_are_not_finite_stay_out() -> None:
    points = SCANS[0].points.copy()
    points[::3, 1] = np.nan
    bank = InstanceBank.build([SCANS[0].with_points(points)], NAMES, min_points=10)
    assert len(bank) and np.isfinite(bank.points).all()


def test_saved_and_loaded(tmp_path: Path) -> None:
    bank = InstanceBank.build(SCANS, NAMES)
    bank.save(tmp_path / "a" / "bank.npz")
    assert_same_bank(InstanceBank.load(tmp_path / "a" / "bank.npz"), bank)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["bank.npz"]


def test_an_empty_bank_is_a_bank(tmp_path: Path) -> None:
    bank = InstanceBank.build([], NAMES)
    bank.save(tmp_path / "bank.npz")
    assert len(InstanceBank.load(tmp_path / "bank.npz")) == 0


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    with path.open("wb") as file:
        np.savez(file, points=np.array([print], object), starts=[0], classes=[0], class_names=["car"])
    with pytest.raises(UserError, match=r"no bank of instances .*build it again"):
        InstanceBank.load(path)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off"])
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bank.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"bank\.npz: no bank of instances"):
        InstanceBank.load(tmp_path / "bank.npz")


def test_another_array_file(tmp_path: Path) -> None:
    np.save(tmp_path / "bank.npy", np.zeros(3))
    with pytest.raises(UserError, match="no bank of instances"):
        InstanceBank.load(tmp_path / "bank.npy")


@pytest.mark.parametrize(
    "changed", [{"starts": [0, 5]}, {"starts": [1, 10]}, {"classes": [7]}, {"starts": [0, 12, 10], "classes": [0, 0]}]
)
def test_arrays_that_do_not_fit(tmp_path: Path, changed: dict[str, list[int]]) -> None:
    arrays = {"points": np.zeros((10, 4)), "starts": [0, 10], "classes": [0], "class_names": ["car"]} | changed
    np.savez(tmp_path / "bank.npz", **arrays)
    with pytest.raises(UserError, match="do not fit each other"):
        InstanceBank.load(tmp_path / "bank.npz")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file; data\.augmentation\.cutmix\.bank names it"):
        InstanceBank.load(tmp_path / "bank.npz")


def test_impossible_settings() -> None:
    with pytest.raises(UserError, match=r"bank\.min_points: got 0"):
        InstanceBank.build([], NAMES, min_points=0)
    with pytest.raises(UserError, match=r"bank\.max_per_class: got 0"):
        InstanceBank.build([], NAMES, max_per_class=0)
    with pytest.raises(UserError, match=r"bank\.classes: got cat"):
        InstanceBank.build([], NAMES, classes=["cat"])
