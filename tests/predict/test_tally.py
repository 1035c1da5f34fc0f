"""Counts against counts by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark import benchmark_scores

from clusterseg.data.label_map import IGNORE_INDEX, load_label_map
from clusterseg.data.scan import read_labels, read_scan
from clusterseg.predict.metrics import BANDS, CONFIDENCE_BINS, Tally, count, total

MAP = load_label_map("semantickitti")


def random_scan(seed: int, points: int = 3000) -> tuple[torch.Tensor, ...]:
    """predictions, confidence, targets, xyz"""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 19, points)
    predictions = np.where(rng.random(points) < 0.6, targets, rng.integers(0, 19, points))
    targets[rng.random(points) < 0.1] = IGNORE_INDEX
    xyz = rng.normal(0, 25, (points, 3)).astype(np.float32)
    xyz[:3] = [[math.nan, 0, 0], [math.inf, 0, 0], [10, 0, 0]]
    targets[:3] = 5
    confidence = rng.random(points).astype(np.float32)
    confidence[:2] = [0.0, 1.0]
    return tuple(torch.from_numpy(array) for array in (predictions, confidence, targets, xyz))


def test_bands_add_up_and_match_a_loop() -> None:
    predictions, confidence, targets, xyz = random_scan(1)
    tally = count(predictions, confidence, targets, xyz, 19, scans=1)
    expected = np.zeros((len(BANDS), 19, 19), int)
    for p, t, (x, y, z) in zip(predictions.tolist(), targets.tolist(), xyz.tolist(), strict=True):
        if t != IGNORE_INDEX:
            distance = math.sqrt(x * x + y * y + z * z)
            band = 5 if not math.isfinite(distance) or distance >= 50 else int(distance // 10)
            expected[band, t, p] += 1
    np.testing.assert_array_equal(tally.confusion.numpy(), expected)
    assert sum(int(s.points) for s in tally.scores_by_distance().values()) == int((targets != IGNORE_INDEX).sum())


def test_calibration_matches_a_loop() -> None:
    predictions, confidence, targets, xyz = random_scan(2)
    tally = count(predictions, confidence, targets, xyz, 19, scans=1)
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(CONFIDENCE_BINS)]
    for p, c, t in zip(predictions.tolist(), confidence.tolist(), targets.tolist(), strict=True):
        if t != IGNORE_INDEX:
            bins[min(int(c * CONFIDENCE_BINS), CONFIDENCE_BINS - 1)].append((c, p == t))
    points = sum(map(len, bins))
    error = sum(abs(sum(c for c, _ in b) - sum(hit for _, hit in b)) / points for b in bins)
    assert tally.calibration_error() == pytest.approx(error, abs=1e-12)
    assert tally.bin_points.tolist() == [len(b) for b in bins]


def test_parts_add_up_to_the_whole() -> None:
    scans = [random_scan(seed) for seed in range(3)]
    whole = count(*(torch.cat(column) for column in zip(*scans, strict=True)), 19, scans=3)
    parts = total([count(*scan, 19, scans=1) for scan in scans], 19)
    assert parts.scans == whole.scans == 3
    assert torch.equal(parts.confusion, whole.confusion)
    assert torch.equal(parts.bin_hits, whole.bin_hits)
    assert parts.calibration_error() == pytest.approx(whole.calibration_error(), abs=1e-12)


def test_nothing_counts_to_zero() -> None:
    tally = Tally.zero(19)
    assert float(tally.scores().miou) == 0
    assert tally.calibration_error() == 0


@pytest.mark.parametrize("case", ["noisy truth", "random", "one class absent from both", "never predicted"])
def test_scores_of_real_scans_are_the_benchmarks(shared: Path, case: str) -> None:
    rng = np.random.default_rng(3)
    sequences = shared / "data" / "semantickitti_mini" / "sequences"
    tally, scans = Tally.zero(19), []
    for sequence in ("00", "08"):
        points = read_scan(sequences / sequence / "velodyne" / "000000.bin")
        raw = read_labels(sequences / sequence / "labels" / "000000.label", len(points))
        targets = MAP.to_train(raw)
        noise = rng.integers(0, 19, len(points))
        keep = rng.random(len(points)) < (0.0 if case == "random" else 0.7)
        predictions = np.where(keep & (targets != IGNORE_INDEX), targets, noise)
        if case == "never predicted":
            predictions[predictions == 8] = 9
        if case == "one class absent from both":
            predictions[predictions == 3] = 0
            targets[targets == 3] = IGNORE_INDEX
            raw = np.where((raw & 0xFFFF == 18) | (raw & 0xFFFF == 258), 0, raw)
        confidence = torch.full((len(points),), 0.5)
        arrays = [torch.from_numpy(array) for array in (predictions, targets, points[:, :3])]
        tally += count(arrays[0], confidence, arrays[1], arrays[2], 19, scans=1)
        scans.append((raw, MAP.to_raw(predictions)))
    miou, accuracy, iou = benchmark_scores(scans)
    got = tally.scores()
    np.testing.assert_allclose(got.iou.numpy(), iou, rtol=0, atol=1e-9)
    assert float(got.miou) == pytest.approx(miou, abs=1e-9)
    assert float(got.accuracy) == pytest.approx(accuracy, abs=1e-9)
