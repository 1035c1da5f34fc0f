"""Scores against a count point by point."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clusterseg.metrics import PointConfusion

CLASSES, IGNORE = 19, 255


def slow_scores(predictions: list[np.ndarray], targets: list[np.ndarray]) -> dict[str, float | list[float]]:
    """The benchmark's definition, one point at a time."""
    hits, union, truth = [0] * CLASSES, [0] * CLASSES, [0] * CLASSES
    right = points = 0
    for p, t in zip(np.concatenate(predictions).tolist(), np.concatenate(targets).tolist(), strict=True):
        if t == IGNORE:
            continue
        points += 1
        truth[t] += 1
        union[t] += 1
        if p == t:
            hits[t] += 1
            right += 1
        else:
            union[p] += 1
    iou = [h / u if u else 0.0 for h, u in zip(hits, union, strict=True)]
    present = [i for i, n in zip(iou, truth, strict=True) if n]
    return {
        "iou": iou,
        "miou": sum(iou) / CLASSES,
        "miou_present": sum(present) / max(len(present), 1),
        "accuracy": right / max(points, 1),
        "points": points,
    }


@pytest.mark.parametrize("absent", ["none", "from truth", "from prediction", "from both", "all ignored"])
def test_scores_equal_a_count_by_hand(absent: str) -> None:
    rng = np.random.default_rng(5)
    confusion = PointConfusion(CLASSES)
    predictions, targets = [], []
    for _ in range(3):
        target = rng.integers(0, CLASSES, 4000)
        predicted = np.where(rng.random(4000) < 0.6, target, rng.integers(0, CLASSES, 4000))
        if absent in ("from truth", "from both"):
            target[target == 4] = IGNORE
        if absent in ("from prediction", "from both"):
            predicted[predicted == 4] = 5
        target[rng.random(4000) < (1.0 if absent == "all ignored" else 0.1)] = IGNORE
        confusion.update(torch.from_numpy(predicted), torch.from_numpy(target))
        predictions.append(predicted)
        targets.append(target)
    expected, got = slow_scores(predictions, targets), confusion.scores()
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(got, name).numpy(), value, rtol=0, atol=1e-9, err_msg=name)
