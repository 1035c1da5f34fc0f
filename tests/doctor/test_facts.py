"""The figures of a scan against a loop over its points."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clusterseg.data.label_map import load_label_map
from clusterseg.data.reader import Scan
from clusterseg.doctor.facts import measure

FEATURES = ("x", "y", "z", "ring", "intensity")
EDGE = 0.25


def odd_scan(seed: int) -> Scan:
    """Points with NaN, infinity and zeros in every column, and labels of which some are unknown."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 5, (300, 5)).astype(np.float32)
    points[:, 3:] = rng.random((300, 2))
    for value, count in ((np.nan, 20), (np.inf, 5), (-np.inf, 5)):
        points[rng.integers(0, 300, count), rng.integers(0, 5, count)] = value
    points[rng.integers(0, 300, 25), :3] = 0
    labels = rng.choice([0, 10, 252, 40, 7, 8], 300).astype(np.uint32) | rng.integers(0, 9, 300).astype(np.uint32) << 16
    return Scan(points, labels)


@pytest.mark.parametrize("seed", range(5))
def test_as_point_by_point(seed: int) -> None:
    scan = odd_scan(seed)
    found = measure(scan, ("train", "a", "a.bin"), FEATURES, load_label_map("semantickitti"), EDGE, (0.5,))
    rows = [[float(value) for value in row] for row in scan.points]
    placed = [row for row in rows if all(map(math.isfinite, row[:3]))]
    assert (found.split, found.scan_id, found.source, found.points) == ("train", "a", "a.bin", 300)
    assert found.misplaced == 300 - len(placed) > 0
    assert found.invalid == sum(not all(map(math.isfinite, row)) for row in placed) > 0
    assert found.at_origin == sum(row[:3] == [0, 0, 0] for row in rows) > 0
    assert found.size == pytest.approx([max(r[i] for r in placed) - min(r[i] for r in placed) for i in range(3)])
    distances = sorted(math.dist(row[:3], (0, 0, 0)) for row in placed)
    at = 0.99 * (len(distances) - 1)
    low, high = distances[int(at)], distances[int(at) + 1]
    # Interpolated between squares there and between distances here.
    assert low <= found.reach <= high
    lit = [row[4] for row in rows if math.isfinite(row[4])]
    assert found.remission is not None
    assert [found.remission[i] for i in (0, 2, 4)] == pytest.approx([min(lit), np.median(lit), max(lit)])
    for edge, count in ((EDGE, found.voxels), (0.5, 300 / found.ladder[0.5])):
        assert count == len({tuple(np.rint(np.float32(row[:3]) / np.float32(edge))) for row in placed})


def test_voxels_are_those_that_a_network_sees_with_the_scans_context() -> None:
    near, far = odd_scan(0).points[:, :3], odd_scan(1).points[:, :3] + np.float32(100)
    table = load_label_map("semantickitti")
    alone = [measure(Scan(p), ("train", "a", "a"), ("x", "y", "z"), table, EDGE, (EDGE,)) for p in (near, far)]
    both = measure(Scan(near, context=Scan(far)), ("train", "a", "a"), ("x", "y", "z"), table, EDGE, (EDGE,))
    assert both.voxels == alone[0].voxels + alone[1].voxels  # type: ignore[operator]
    assert both.ladder[EDGE] == pytest.approx(600 / both.voxels)
    assert (both.points, both.size, both.misplaced) == (300, alone[0].size, alone[0].misplaced)


def test_labels_are_counted_by_class() -> None:
    scan, table = odd_scan(0), load_label_map("semantickitti")
    found = measure(scan, ("train", "a", "a.bin"), FEATURES, table, EDGE)
    assert scan.labels is not None
    ids = [int(label) % 65536 for label in scan.labels]
    assert found.unknown == {7: ids.count(7), 8: ids.count(8)}
    names = [*table.class_names, "ignored"]
    expected = {"car": ids.count(10) + ids.count(252), "road": ids.count(40), "ignored": ids.count(0)}
    assert {name: int(n) for name, n in zip(names, found.classes, strict=True) if n} == expected


def test_resolution_of_float32_far_from_zero() -> None:
    points = np.zeros((50, 3), np.float32) + np.float32([4.5e5, 5.4e6, 300])
    found = measure(Scan(points), ("train", "a", "a"), ("x", "y", "z"), load_label_map("semantickitti"), 0.05)
    assert found.step == 0.5  # 5.4e6 lies between 2^22 and 2^23, and float32 has 24 bits
    assert found.remission is None and not found.labelled


def test_equal_points_have_equal_digests() -> None:
    table, scans = load_label_map("semantickitti"), [odd_scan(0), odd_scan(0), odd_scan(1)]
    digests = [measure(scan, ("train", "a", "a"), FEATURES, table, EDGE).digest for scan in scans]
    assert digests[0] == digests[1] != digests[2]


def test_a_garbled_label_file_stays_small() -> None:
    scan = Scan(odd_scan(0).points, np.arange(1000, 1300))
    assert len(measure(scan, ("train", "a", "a"), FEATURES, load_label_map("semantickitti"), EDGE).unknown) == 20
