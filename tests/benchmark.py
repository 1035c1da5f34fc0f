"""The benchmark's definition of its scores, on its own: one point at a time, raw ids in, class 0 ignored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

# learning_map of semantic-kitti.yaml
LEARNING_MAP = {
    0: 0, 1: 0, 10: 1, 11: 2, 13: 5, 15: 3, 16: 5, 18: 4, 20: 5, 30: 6, 31: 7, 32: 8, 40: 9, 44: 10, 48: 11, 49: 12,
    50: 13, 51: 14, 52: 0, 60: 9, 70: 15, 71: 16, 72: 17, 80: 18, 81: 19, 99: 0, 252: 1, 253: 7, 254: 6, 255: 8,
    256: 5, 257: 5, 258: 4, 259: 5,
}  # fmt: skip
# learning_map_inv of the same file
LEARNING_MAP_INV = {
    1: 10, 2: 11, 3: 15, 4: 18, 5: 20, 6: 30, 7: 31, 8: 32, 9: 40, 10: 44, 11: 48, 12: 49, 13: 50, 14: 51, 15: 70,
    16: 71, 17: 72, 18: 80, 19: 81,
}  # fmt: skip
# learning_map and learning_map_inv of semantic-kitti-all.yaml, the benchmark of several scans
MULTISCAN_MAP = LEARNING_MAP | {252: 20, 253: 21, 254: 22, 255: 23, 256: 24, 257: 24, 258: 25, 259: 24}
MULTISCAN_MAP_INV = LEARNING_MAP_INV | {20: 252, 21: 253, 22: 254, 23: 255, 24: 259, 25: 258}


def benchmark_scores(
    scans: Iterable[tuple[np.ndarray, np.ndarray]], learning_map: dict[int, int] = LEARNING_MAP
) -> tuple[float, float, list[float]]:
    """mIoU, accuracy and IoU of the classes from 1 on from (truth, prediction) in raw ids."""
    classes = range(1, max(learning_map.values()) + 1)
    pairs: Counter[tuple[int, int]] = Counter()
    for truth, prediction in scans:
        pairs.update(zip((truth & 0xFFFF).tolist(), (prediction & 0xFFFF).tolist(), strict=True))
    hits, false_positive, false_negative = Counter(), Counter(), Counter()
    for (raw_truth, raw_prediction), points in pairs.items():
        t, p = learning_map[raw_truth], learning_map[raw_prediction]
        if t == 0:
            continue
        if t == p:
            hits[t] += points
        else:
            false_negative[t] += points
            false_positive[p] += points
    iou = [hits[c] / max(hits[c] + false_positive[c] + false_negative[c], 1) for c in classes]
    counted = sum(hits.values()) + sum(false_positive[c] for c in classes)
    return sum(iou) / len(iou), sum(hits.values()) / max(counted, 1), iou
