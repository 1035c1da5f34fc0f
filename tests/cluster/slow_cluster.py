"""Slow, obvious versions of the method's formulas, in float64, to test against."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np


def slow_contrast(anchors, others, positives, negatives, tau: float, tau_base: float) -> float:
    """METHOD step 4 as two loops."""
    losses = []
    for i, a in enumerate(anchors):
        logits = [float(np.dot(a, b)) / tau for b in others]
        repulsion = sum(math.exp(x) for j, x in enumerate(logits) if negatives[i][j])
        terms = [x - math.log(math.exp(x) + repulsion) for j, x in enumerate(logits) if positives[i][j]]
        if terms:
            losses.append(-tau / tau_base * sum(terms) / len(terms))
    return sum(losses) / len(losses) if losses else 0.0


def slow_sinkhorn(log_scores: np.ndarray, lambda_: float, rounds: int = 5000) -> np.ndarray:
    """The transport plan (anchors, clusters) by plain Sinkhorn-Knopp in the log domain."""
    n, k = log_scores.shape
    plan = lambda_ * log_scores
    for _ in range(rounds):
        plan = plan - np.logaddexp.reduce(plan, axis=1, keepdims=True) - math.log(n)
        plan = plan - np.logaddexp.reduce(plan, axis=0, keepdims=True) - math.log(k)
    return np.exp(plan)


def adjusted_rand_index(a: Sequence[int], b: Sequence[int]) -> float:
    """Agreement of two partitions: 1 for the same, about 0 by chance (Hubert and Arabie 1985)."""

    def pairs(counts) -> float:
        return sum(c * (c - 1) / 2 for c in counts)

    together = pairs(Counter(zip(a, b, strict=True)).values())
    in_a, in_b = pairs(Counter(a).values()), pairs(Counter(b).values())
    chance = in_a * in_b / pairs([len(a)])
    return (together - chance) / ((in_a + in_b) / 2 - chance)
