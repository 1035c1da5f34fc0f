"""Several scans as one: what stands coincides, what moves keeps its id, only the newest scan's points count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmark import MULTISCAN_MAP, MULTISCAN_MAP_INV
from moving_scene import CAR, MOVING, SPEED, STANDING, WALLS, pose, write_sequence

from clusterseg.data.augment import PolarMix
from clusterseg.data.datamodule import ScanDataModule, SemanticKittiDataModule
from clusterseg.data.label_map import load_label_map
from clusterseg.data.reader import Scan
from clusterseg.data.scan import read_labels, read_scan
from clusterseg.data.semantickitti import SemanticKittiReader
from clusterseg.data.transforms import RandomRotation, RandomScale
from clusterseg.errors import UserError
from clusterseg.predict.views import View
from clusterseg.predict.voter import see

POINTS = WALLS + CAR


def reader(root: Path, window: int = 5) -> SemanticKittiReader:
    found = SemanticKittiReader(root, sequences={"train": ["00"], "val": ["00"]}, window=window)
    found.scans("val")
    return found


def context_of(scan: Scan) -> Scan:
    assert scan.context is not None
    return scan.context


def test_standing_points_of_all_scans_coincide_within_a_millimetre(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", 7)
    scan = reader(tmp_path).read("00/000006")
    assert len(scan.points) == POINTS and len(context_of(scan).points) == 4 * POINTS
    apart = []
    for part in np.split(context_of(scan).points, 4):
        apart.append(np.linalg.norm(part[:WALLS, :3] - scan.points[:WALLS, :3], axis=1).max())
    print(f"largest distance of a standing point from itself, in mm: {1e3 * max(apart):.4f}")
    assert max(apart) < 1e-3
    raw = read_scan(tmp_path / "00/velodyne/000002.bin")
    away = np.linalg.norm(raw[:WALLS, :3] - scan.points[:WALLS, :3], axis=1)
    assert away.min() > 0.5, "without the poses they would not"


def test_points_by_a_loop_over_each_point(tmp_path: Path) -> None:
    """By homogeneous coordinates, from the path of the lidar itself, which is in none of the files."""
    write_sequence(tmp_path, "00", 3, every=2)
    moved = context_of(reader(tmp_path, window=2).read("00/000004")).points
    raw = read_scan(tmp_path / "00/velodyne/000002.bin")
    for row in range(0, POINTS, 37):
        in_world = pose(0.2) @ [*raw[row, :3].astype(float), 1.0]
        np.testing.assert_allclose(moved[row, :3], (np.linalg.inv(pose(0.4)) @ in_world)[:3], atol=1e-4)
        assert moved[row, 3] == raw[row, 3], "the remission stays"
        assert moved[row, 4] == pytest.approx(0.2, abs=1e-6), "the age in seconds"


def test_moving_ids_survive_and_the_car_has_moved(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", 5)
    scan = reader(tmp_path, window=3).read("00/000004")
    context = context_of(scan)
    assert scan.labels is not None and context.labels is not None
    assert ((context.labels & 0xFFFF) == MOVING).sum() == 2 * CAR and ((scan.labels & 0xFFFF) == MOVING).sum() == CAR
    assert set((context.labels >> 16).tolist()) == {0, 3}, "the instance is the same one over time"
    newest, before = scan.points[WALLS:], context.points[WALLS:POINTS]
    gone = (newest[:, :3] - before[:, :3]) @ (np.linalg.inv(pose(0.4))[:3, :3] @ [1, 0, 0])
    np.testing.assert_allclose(gone, 0.1 * SPEED, atol=1e-3)
    label_map = load_label_map("semantickitti_multiscan")
    assert label_map.to_raw(label_map.to_train(context.labels[WALLS:POINTS])).tolist() == [MOVING] * CAR


def test_the_first_scans_have_fewer_before_them(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", 6)
    found = reader(tmp_path)
    assert found.features == ("x", "y", "z", "remission", "age")
    for frame in range(6):
        scan = found.read(f"00/{frame:06d}")
        ages = [] if scan.context is None else np.unique(scan.context.points[:, 4]).tolist()
        assert ages == pytest.approx([0.1 * i for i in range(1, min(frame, 4) + 1)], abs=1e-6)
        assert (scan.points[:, 4] == 0).all()


def test_a_window_of_one_changes_nothing(tmp_path: Path) -> None:
    folder = write_sequence(tmp_path, "00", 2)
    (folder / "poses.txt").unlink()
    scan = reader(tmp_path, window=1).read("00/000001")
    assert scan.context is None and scan.points.shape == (POINTS, 4)
    with pytest.raises(UserError, match=r"data\.window=0"):
        reader(tmp_path, window=0)


def module(root: Path, **settings: object) -> ScanDataModule:
    sequences = {"train": ["00"], "val": ["00"], "test": ["00"]}
    settings = {"voxel_size": 0.2, "num_workers": 0, "keep_points": True, **settings}
    return SemanticKittiDataModule(root, "train", sequences, "semantickitti_multiscan", 4, **settings)


def test_evaluation_counts_the_newest_scan_and_sees_all(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", 5)
    sample = module(tmp_path).dataset("val")[4]
    assert len(sample.point_targets) == len(sample.inverse_map) == POINTS
    assert sample.points is not None and sample.context is not None and len(sample.context) == 3 * POINTS
    np.testing.assert_array_equal(sample.points[:, :4], read_scan(tmp_path / "00/velodyne/000004.bin"))
    cells = {tuple(np.rint(p / np.float32(0.2)).tolist()) for p in [*sample.points[:, :3], *sample.context[:, :3]]}
    assert len(sample.coords) == len(cells), "each scan's points have voxels"
    names = load_label_map("semantickitti_multiscan").class_names
    raw = read_labels(tmp_path / "00/labels/000004.label", POINTS) & 0xFFFF
    expected = [names.index({STANDING: "building", MOVING: "moving-car"}[int(label)]) for label in raw]
    assert sample.point_targets.tolist() == expected


def test_training_counts_all_scans_and_is_a_function_of_seed_epoch_and_index(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", 5)
    augmentation = {"rotation": RandomRotation(), "scale": RandomScale()}
    data = module(tmp_path, augmentation=augmentation, max_voxels=500, seed=3)
    one, again, other = (data.dataset("fit")[key] for key in ((2, 4), (2, 4), (3, 4)))
    np.testing.assert_array_equal(one.feats, again.feats)
    np.testing.assert_array_equal(one.point_targets, again.point_targets)
    assert len(one.coords) == 500 and not np.array_equal(one.feats, other.feats)
    whole = module(tmp_path, augmentation=augmentation, max_voxels=None, seed=3).dataset("fit")[2, 4]
    assert len(whole.point_targets) == 4 * POINTS and whole.context is None
    assert set(np.unique(whole.feats[:, 4]).tolist()) <= {0.0, *np.float32([0.1, 0.2, 0.3]).tolist()}
    again = module(tmp_path, augmentation=augmentation, max_voxels=None, seed=3).dataset("fit")[2, 4]
    np.testing.assert_array_equal(whole.feats, again.feats)


def test_one_turn_of_the_augmentation_turns_all_scans_alike(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", 5)
    data = module(tmp_path, augmentation={"rotation": RandomRotation()}, max_voxels=None, voxel_size=0.001)
    sample = data.dataset("fit")[1, 4]
    rows = sample.feats[sample.inverse_map]
    parts = np.split(rows, 4)
    for part in parts[1:]:
        np.testing.assert_allclose(part[:WALLS, :3], parts[0][:WALLS, :3], atol=2e-3)


def test_mixes_take_all_scans_of_both(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", 5)
    mix = PolarMix(classes=("car",), swap=1.0, paste=0.0)
    data = module(tmp_path, augmentation={"polarmix": mix}, max_voxels=None)
    sample = data.dataset("fit")[0, 4, 3]
    assert set(np.unique(sample.feats[:, 4]).tolist()) == set(np.float32([0, 0.1, 0.2, 0.3]).tolist())
    assert len(sample.point_targets) == len(sample.inverse_map) > 2 * POINTS


def test_a_view_turns_the_context_with_the_scan(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", 5)
    data = module(tmp_path, val_batch_size=2)
    batch = list(data.eval_dataloader("val"))[1]
    same = see(batch, View(), 0.2)
    for name in ("coords", "feats", "inverse_map"):
        np.testing.assert_array_equal(getattr(same, name), getattr(batch, name))
    turned = see(batch, View(quarter_turns=2), 0.2)
    assert len(turned.inverse_map) == len(batch.inverse_map) == 2 * POINTS
    np.testing.assert_array_equal(turned.feats[turned.inverse_map][:5, 4], batch.feats[batch.inverse_map][:5, 4])
    assert len(turned.coords) == pytest.approx(len(batch.coords), rel=0.05)


def test_an_unknown_label_of_a_scan_before_is_named_with_its_scan(tmp_path: Path) -> None:
    folder = write_sequence(tmp_path, "00", 3)
    labels = np.full(POINTS, 7, "<u4")
    labels.tofile(folder / "labels/000001.label")
    with pytest.raises(UserError, match=r"000002\.label: a scan before it: unknown label ids \[7\]"):
        module(tmp_path).dataset("val")[2]


def test_the_label_map_is_the_benchmarks() -> None:
    label_map, single = load_label_map("semantickitti_multiscan"), load_label_map("semantickitti")
    assert label_map.num_classes == 25 and label_map.class_names[:19] == single.class_names
    known = np.flatnonzero(label_map.raw_to_train >= 0)
    assert known.tolist() == sorted(MULTISCAN_MAP)
    for raw, train in MULTISCAN_MAP.items():
        assert label_map.raw_to_train[raw] == (train - 1 if train else 255), raw
    assert {i + 1: int(raw) for i, raw in enumerate(label_map.train_to_raw)} == MULTISCAN_MAP_INV
