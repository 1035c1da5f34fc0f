"""Paired differences over seeds: intervals, correlation, Holm's correction, and what the seeds could have detected."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from clusterseg.errors import UserError


@dataclass(frozen=True)
class Paired:
    """Differences of an arm to the baseline over the seeds that both have.

    Attributes:
        pairs: Number of seeds.
        mean: Mean difference.
        std: Sample standard deviation of the differences; None for a single pair.
        low: Lower end of the 95 % interval of the mean (Student's t); None for a single pair.
        high: Its upper end.
        p: Two-sided p-value of the paired t-test; None where the differences do not vary or there is one pair.
        correlation: Pearson correlation of the two arms over the seeds; None below three pairs or without variation.
        detectable: Smallest true difference that these seeds would find with 80 % power at 5 %, given `std`.
    """

    pairs: int
    mean: float
    std: float | None
    low: float | None
    high: float | None
    p: float | None
    correlation: float | None
    detectable: float | None


def paired(arm: Mapping[int, float], baseline: Mapping[int, float]) -> Paired | None:
    """Compare an arm with the baseline, seed by seed.

    Args:
        arm: Its figure by seed.
        baseline: The baseline's.

    Returns:
        The comparison; None if they share no seed.

    Examples:
        >>> found = paired({1: 0.52, 2: 0.55, 3: 0.50}, {1: 0.50, 2: 0.52, 3: 0.49})
        >>> round(found.mean, 3), round(found.low, 4), round(found.high, 4)
        (0.02, -0.0048, 0.0448)
    """
    seeds = sorted(set(arm) & set(baseline))
    if not seeds:
        return None
    differences = [arm[seed] - baseline[seed] for seed in seeds]
    mean, count = statistics.fmean(differences), len(seeds)
    if count == 1:
        return Paired(1, mean, None, None, None, None, None, None)
    std = statistics.stdev(differences)
    error = std / math.sqrt(count)
    t = _distributions().t
    half = float(t.ppf(0.975, count - 1)) * error
    p = float(2 * t.sf(abs(mean) / error, count - 1)) if error > 0 else None
    related = correlation([arm[seed] for seed in seeds], [baseline[seed] for seed in seeds])
    return Paired(count, mean, std, mean - half, mean + half, p, related, std * detectable_effect(count))


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson correlation; None below three values or where one side does not vary."""
    if len(first) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        return None
    return statistics.correlation(first, second)


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Holm's step-down adjustment of p-values (Holm 1979, Scand. J. Statist. 6); None stays None and does not count.

    Examples:
        >>> holm({"car": 0.01, "road": 0.04, "pole": 0.03})
        {'car': 0.03, 'road': 0.06, 'pole': 0.06}
    """
    known = sorted((p, name) for name, p in p_values.items() if p is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    worst = 0.0
    for rank, (p, name) in enumerate(known):
        worst = max(worst, min(1.0, (len(known) - rank) * p))
        adjusted[name] = worst
    return adjusted


@cache  # of a study's hundreds of comparisons most have as many pairs
def detectable_effect(pairs: int, power: float = 0.8, level: float = 0.05) -> float:
    """Smallest mean difference that a paired t-test finds, in standard deviations of the differences.

    Args:
        pairs: Number of pairs, at least 2.
        power: Probability of finding it.
        level: Two-sided significance level.

    Returns:
        The effect, from the noncentral t distribution, to 1e-6.

    Examples:
        >>> round(detectable_effect(8), 2)
        1.16
    """
    found = _distributions()
    limit = float(found.t.ppf(1 - level / 2, pairs - 1))

    def reached(effect: float) -> float:
        shift = effect * math.sqrt(pairs)
        return float(found.nct.sf(limit, pairs - 1, shift) + found.nct.cdf(-limit, pairs - 1, shift))

    low, high = 0.0, 1.0
    while reached(high) < power:
        high *= 2
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) < power else (low, middle)
    return high


def check_scipy() -> None:
    """Check that a report can be made.

    Raises:
        UserError: scipy is not installed.
    """
    _distributions()


def _distributions() -> Any:
    try:
        from scipy import stats
    except ImportError:
        raise UserError("the report of a study needs scipy; install it by: pip install 'clusterseg[study]'") from None
    return stats
