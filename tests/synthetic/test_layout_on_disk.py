"""What is written can be read as SemanticKITTI, and its index tells the truth."""

import dataclasses

import numpy as np
import pytest
from streets_files import SMALL, digest, read_scan

from clusterseg.synthetic import Recipe, mode_names, read_modes, write_streets
from clusterseg.synthetic.labels import CLASS_OF, CLASSES, Raw
from clusterseg.synthetic.layout import VELO_TO_CAMERA
from clusterseg.synthetic.town import build_town


def test_the_tree_is_exactly_that_of_semantic_kitti(streets):
    names = {str(f.relative_to(streets / "sequences")) for f in (streets / "sequences").rglob("*") if f.is_file()}
    expected = set()
    for s in ("00", "08"):
        expected |= {f"{s}/{name}" for name in ("calib.txt", "poses.txt", "times.txt", "modes.json")}
        expected |= {f"{s}/velodyne/{i:06d}.bin" for i in range(3)} | {f"{s}/labels/{i:06d}.label" for i in range(3)}
    assert names == expected


def test_scans_are_in_range_and_labels_are_known(streets):
    for sequence in (streets / "sequences").iterdir():
        for i in range(3):
            points, labels = read_scan(sequence, i)
            assert len(points) == len(labels)
            assert 0.6 * 16 * 300 < len(points) <= 16 * 300
            assert np.isfinite(points).all()
            assert np.linalg.norm(points[:, :3], axis=1).max() < 81
            assert points[:, 3].min() >= 0
            assert points[:, 3].max() <= 1
            assert set(np.unique(labels & 0xFFFF)) <= {int(r) for r in Raw}
            ground = np.isin(labels & 0xFFFF, (Raw.ROAD, Raw.LANE_MARKING))
            near = np.linalg.norm(points[:, :2], axis=1) < 8
            assert points[ground & near, 2].mean() == pytest.approx(-1.75, abs=0.15)


def test_poses_lead_from_the_files_to_the_town(streets):
    """Read as KITTI does: scan points -> camera by Tr -> first camera by the pose; the ego drives forward."""
    folder = streets / "sequences" / "00"
    calib = dict(line.split(":") for line in (folder / "calib.txt").read_text().splitlines())
    assert list(calib) == ["P0", "P1", "P2", "P3", "Tr"]
    Tr = np.vstack([np.array(calib["Tr"].split(), float).reshape(3, 4), [0, 0, 0, 1]])
    assert pytest.approx(VELO_TO_CAMERA) == Tr
    rows = [np.array(line.split(), float) for line in (folder / "poses.txt").read_text().splitlines()]
    assert len(rows) == 3
    town = build_town(SMALL.seed, 0, SMALL.period * 2)
    first = np.linalg.inv(town.pose(0.0))
    for i, row in enumerate(rows):
        pose = np.vstack([row.reshape(3, 4), [0, 0, 0, 1]])
        lidar = np.linalg.inv(Tr) @ pose @ Tr
        assert lidar == pytest.approx(first @ town.pose(i * SMALL.period), abs=1e-6)
        assert lidar[0, 3] == pytest.approx(i * SMALL.period * town.character.speed, rel=0.15, abs=1e-6)
    times = np.loadtxt(folder / "times.txt")
    assert times == pytest.approx([0, 4, 8])


def test_standing_things_stay(streets):
    """Brought to the world by the poses, the points of trunks, poles and signs keep their place from scan to scan."""
    folder = streets / "sequences" / "00"
    town = build_town(SMALL.seed, 0, SMALL.period * 2)
    places = {}
    for i in range(3):
        points, labels = read_scan(folder, i)
        pose = town.pose(i * SMALL.period)
        world = points[:, :3] @ pose[:3, :3].T + pose[:3, 3]
        for label in np.unique(labels):
            if label & 0xFFFF in (Raw.TRUNK, Raw.POLE, Raw.TRAFFIC_SIGN):
                places.setdefault(int(label), []).append(np.median(world[labels == label, :2], axis=0))
    moved = [np.linalg.norm(p[-1] - p[0]) for p in places.values() if len(p) > 1]
    assert len(moved) > 3
    assert max(moved) < 1.0


def test_moving_things_move_at_their_speed():
    town = build_town(SMALL.seed, 0, 8.0)
    ground = town.ego(0.0).ground
    steps = []
    for mover in town.movers:
        before, after = (mover.placed(town.ground.roads, ground, time)[0][:2] for time in (1.0, 1.5))
        steps.append(np.linalg.norm(after - before) / (0.5 * abs(mover.speed)))
        assert int(town.register.raw[mover.solids.instance[0]]) >= 252
    # curves lengthen or shorten the way of the outer and the inner lane; a few start anew
    assert np.median(steps) == pytest.approx(1.0, abs=0.05)
    assert np.mean(np.abs(np.array(steps) - 1) < 0.4) > 0.9


def test_the_index_agrees_with_the_labels(streets):
    for sequence in (streets / "sequences").iterdir():
        modes = read_modes(sequence)
        for i in range(3):
            labels = np.unique(read_scan(sequence, i)[1])
            for label in labels:
                raw, instance = int(label & 0xFFFF), int(label >> 16)
                if instance == 0:
                    assert raw == Raw.UNLABELED
                else:
                    assert modes[instance][0] == raw
                    names = mode_names(raw)
                    assert 0 <= modes[instance][1] < max(len(names), 1)


def test_the_bytes_depend_on_the_recipe_alone(streets, tmp_path):
    again = write_streets(tmp_path / "again", SMALL, quiet=True)
    assert digest(again) == digest(streets)
    parallel = write_streets(tmp_path / "parallel", SMALL, workers=2, quiet=True)
    assert digest(parallel) == digest(streets)
    other = dataclasses.replace(SMALL, seed=6, sequences=(0,), scans=1)
    other_bytes = digest(write_streets(tmp_path / "other", other, quiet=True))
    name = "sequences/00/velodyne/000000.bin"
    assert other_bytes[name] != digest(streets)[name]


@pytest.mark.slow
def test_all_classes_occur_in_a_small_set(tmp_path):
    recipe = Recipe(scans=3, seed=1, sequences=tuple(range(11)), azimuths=400, period=5.0)
    root = write_streets(tmp_path, recipe, quiet=True)
    counts = np.zeros(2**16, int)
    for file in root.glob("sequences/*/labels/*.label"):
        counts += np.bincount(np.fromfile(file, "<u4") & 0xFFFF, minlength=2**16)
    found = {name: sum(counts[raw] for raw in raws) for name, raws in CLASSES.items()}
    assert min(found.values()) > 20, found
    assert set(CLASS_OF.values()) == set(found)
